// Package site carries the configurations of the example site into the binary, so that `vipd lab` needs no files: the two
// directors' files as they lie beside it, and what is different in them for another forwarding method or with a mail server.
package site

import (
	"embed"
	"fmt"
	"strings"
)

// Files has director1.conf and director2.conf.
//
//go:embed director1.conf director2.conf
var Files embed.FS

// change is a line of the files, and what stands in its place.
type change struct{ from, to string }

// changes are what another forwarding method needs, by its name in lower case.
var changes = map[string][]change{
	"dr": nil,
	"nat": {
		{"    lb_kind DR\n", "    lb_kind NAT\n"},
		{"        10.0.8.9\n", "        10.0.8.9\n        10.0.8.10           # the real servers' gateway\n"},
		{noteDR, "# What is served there. NAT: both directions of a connection pass through the director, which is the real servers' gateway.\n"},
	},
	"content": {
		{"    real_server 10.0.8.12 80 {\n", "    real_server 10.0.8.41 80 {\n"},
		{"    real_server 10.0.8.13 80 {\n", "    real_server 10.0.8.42 80 {\n"},
		{"    delay_loop 6  ", "    delay_loop 3  "},
		{"            nb_get_retry 3      # counts as retry: three further attempts …\n            delay_before_retry 3    # … three seconds apart\n",
			"            nb_get_retry 1      # counts as retry: one further attempt …\n            delay_before_retry 1    # … a second later\n"},
		{"            nb_get_retry 3\n            delay_before_retry 3\n", "            nb_get_retry 1\n            delay_before_retry 1\n"},
		{noteDR, noteContent},
	},
	"tun": {
		{"    lb_kind DR\n", "    lb_kind TUN\n"},
		{"    real_server 10.0.8.12 80 {\n", "    real_server 10.0.12.12 80 {\n"},
		{"    real_server 10.0.8.13 80 {\n", "    real_server 10.0.13.13 80 {\n"},
		{noteDR, "# What is served there. TUN: a packet goes inside of another one to a web server anywhere, which unpacks it, has 10.0.8.9\n# on its loopback interface, and answers straight to the client.\n"},
	},
}

// noteContent are the pools behind HAProxy, and what stands before the service.
var noteContent = `# What is behind HAProxy: one pool for topics and one for attachments. Nobody has their addresses, which only stand for the pools;
# "vipd export haproxy" makes them HAProxy's backends vipd_topics and vipd_attachments.
` + behind("topics", "10.0.8.21", "    persistence_timeout 3\n", "10.0.8.13", "10.0.8.12") + behind("attachments", "10.0.8.22", "", "10.0.8.14", "10.0.8.15") +
	`# What is served there: two HAProxy, which look into requests. DR: only the MAC address of a packet changes, and they see clients'
# own addresses and answer straight to them; each has 10.0.8.9 on its loopback interface and keeps silent about it in ARP.
`

// behind is a pool behind HAProxy.
func behind(name, addr, more string, reals ...string) string {
	text := "virtual_server_group " + name + " {\n    " + addr + " 80\n}\n\nvirtual_server group " + name + ` {
    delay_loop 2
    lb_algo rr
    lb_kind DR
    protocol TCP
` + more
	for _, r := range reals {
		text += "\n    real_server " + r + ` 80 {
        HTTP_GET {
            url {
                path /style.css
                status_code 200
            }
            connect_timeout 2
            retry 1
            delay_before_retry 1
        }
    }
`
	}
	return text + "}\n\n"
}

const noteDR = "# What is served there. DR: only the MAC address of a packet changes, and answers go straight to the client, so\n# every web server has 10.0.8.9 on its loopback interface and keeps silent about it in ARP.\n"

// mailed is what a mail server elsewhere needs: mails go there, about virtual routers too.
var mailed = change{"    smtp_server 127.0.0.1\n", "    smtp_server 10.0.8.34\n    smtp_alert                  # about VRRP too, not of real servers alone\n"}

// For returns the files of director1 and director2 for a forwarding method (dr, nat, tun or content), and with mail for a site that has a
// mail server.
func For(method string, mail bool) (map[string][]byte, error) {
	todo, ok := changes[method]
	if !ok {
		return nil, fmt.Errorf("no method %q", method)
	}
	if mail {
		todo = append(todo[:len(todo):len(todo)], mailed)
	}
	out := map[string][]byte{}
	for _, director := range []string{"director1", "director2"} {
		text, err := Files.ReadFile(director + ".conf")
		if err != nil {
			return nil, err
		}
		if out[director], err = alter(director, text, todo); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Synchronized returns the files of For with directors that tell each other of their connections, also of those that have just begun, by
// connection_sync with a key. director1 has the higher priority, so that it takes over again whenever it returns, and a client meets
// either real server.
func Synchronized(method string) (map[string][]byte, error) {
	out, err := For(method, false)
	if err != nil {
		return nil, err
	}
	for director, at := range map[string][2]string{"director1": {"10.0.8.25", "10.0.8.55"}, "director2": {"10.0.8.55", "10.0.8.25"}} {
		todo := []change{
			{"    router_id LVS_DEVEL\n", fmt.Sprintf("    router_id LVS_DEVEL\n    connection_sync {\n        source %s\n        peer %s\n        key hex:%s\n    }\n", at[0], at[1], strings.Repeat("5a", 32))},
			{"    persistence_timeout 10 ", "    sync all                # no persistence_timeout 10 "},
		}
		if director == "director1" {
			todo = append(todo, change{"    priority 100 ", "    priority 150 "})
		}
		if out[director], err = alter(director, out[director], todo); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// alter makes changes to a director's file, each of which has one place.
func alter(director string, text []byte, todo []change) ([]byte, error) {
	changed := string(text)
	for _, c := range todo {
		if strings.Count(changed, c.from) != 1 {
			return nil, fmt.Errorf("%s.conf: not one line %q", director, c.from)
		}
		changed = strings.Replace(changed, c.from, c.to, 1)
	}
	return []byte(changed), nil
}
