package test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// contentStep is a step of the method content, as far as it is promised.
type contentStep struct {
	stepFigures
	ByProxy map[string]int `json:"by_proxy"`
	Known   int            `json:"known_client"`
}

// TestTheSiteByContent: HAProxy behind the directors, and two pools behind it. A drain reaches HAProxy; a real server, a HAProxy and
// a director die, and the user keeps session and upload, each page from its own pool and each request with the client's own address.
func TestTheSiteByContent(t *testing.T) {
	forum(t)
	if !alone(t, 4*time.Minute, "memcached", "vsftpd", "exim4", "haproxy") {
		return
	}
	logs := t.TempDir()
	data := playLab(t, "--site", "--method", "content", "--step", "2s", "--logs", logs)
	var got struct {
		OK    bool          `json:"ok"`
		Steps []contentStep `json:"steps"`
		furnished
	}
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range got.Steps {
		names = append(names, s.Name)
		contentHolds(t, s)
	}
	if want := "steady drained real_down real_up proxy_down proxy_up stores_down director_killed director_back director_stopped"; strings.Join(names, " ") != want || !got.OK {
		t.Errorf("ok %t, steps %q, want %q", got.OK, names, want)
	}
	looks := 0
	for _, c := range got.User.Checks {
		looks++
		if !c.LoggedIn || !c.Topic || !c.Attachment || !slices.Contains([]string{fallen, survivor}, c.Server) || !slices.Contains([]string{"10.0.8.14", "10.0.8.15"}, c.FileServer) {
			t.Errorf("the user: %+v", c)
		}
	}
	if looks != len(names)+1 {
		t.Errorf("the user looked %d times", looks)
	}
	requests := regexp.MustCompile(`(?m)^(\S+):\d+ \[.*\] site vipd_(?:topics|attachments)/`)
	for _, host := range []string{"proxy1", "proxy2"} {
		text, err := os.ReadFile(filepath.Join(logs, host+".log"))
		if err != nil {
			t.Fatal(err)
		}
		all := requests.FindAllStringSubmatch(string(text), -1)
		for _, m := range all {
			if !regexp.MustCompile(`^10\.0\.4\.1(0[2-9]|1[0-5])$`).MatchString(m[1]) {
				t.Errorf("%s logs a request of %s", host, m[1])
			}
		}
		if len(all) < 100 {
			t.Errorf("%s logged %d requests:\n%.2000s", host, len(all), text)
		}
	}
}

func contentHolds(t *testing.T, s contentStep) {
	t.Helper()
	cut := s.Name == "director_killed" || s.Name == "director_stopped"
	if answered := s.Requests - s.Failed; s.Requests < 80 || !cut && s.Failed > 0 || s.Known != answered || s.ByProxy["proxy1"]+s.ByProxy["proxy2"] != answered ||
		s.ByReal[fallen]+s.ByReal[survivor] != answered {
		t.Errorf("figures do not add up: %+v", s)
	}
	idle := s.ByReal["10.0.8.14"] + s.ByReal["10.0.8.15"]
	switch {
	case idle != 0:
		t.Errorf("%s: those for attachments answered %d pages", s.Name, idle)
	case s.Name == "real_down" && s.ByReal[fallen] > 0, s.Name == "proxy_down" && s.ByProxy["proxy1"] > 0:
		t.Errorf("the dead answer: %+v", s)
	case s.Name == "steady" && (s.ByProxy["proxy1"] == 0 || s.ByProxy["proxy2"] == 0 || s.ByReal[fallen] == 0 || s.ByReal[survivor] == 0):
		t.Errorf("not all take part: %+v", s)
	}
}

// TestTheContentChapterByHand runs the commands of docs/content.md's last part, in the site that stands: a drain reaches HAProxy, and
// path and host decide.
func TestTheContentChapterByHand(t *testing.T) {
	forum(t)
	if !alone(t, 4*time.Minute, "memcached", "vsftpd", "exim4", "haproxy", "curl") {
		return
	}
	before := left(t)
	weight := regexp.MustCompile(`(?m)^\d+ vipd_topics \d+ 10\.0\.8\.13:80 10\.0\.8\.13 \d+ \d+ (\d+) `)
	said := chapter(t, "../docs/content.md", "\n## In the lab\n", func(words string) {
		if !strings.HasPrefix(words, "lab exec director2 vipd drain") {
			return
		}
		for _, proxy := range []string{"10.0.8.41", "10.0.8.42"} {
			eventually(t, 30*time.Second, "the drain has reached "+proxy, func() bool {
				out := works(t, "lab", "exec", "proxy1", "bash", "-c", "exec 3<>/dev/tcp/"+proxy+"/9999; echo show servers state vipd_topics >&3; cat <&3")
				m := weight.FindStringSubmatch(out)
				return m != nil && m[1] == "0"
			})
		}
	})
	for command, want := range map[string]string{ // HAProxy writes the names of headers in lower case
		"lab exec client curl -sI http://10.0.8.9/":                              `x-client: 10\.0\.4\.102\r`,
		"lab exec client curl -sI -H 'Host: files.example.org' http://10.0.8.9/": `x-real: 10\.0\.8\.1[45]\r`,
		"lab status": "HAProxy runs",
	} {
		if !regexp.MustCompile(want).MatchString(said[command]) {
			t.Errorf("%s: no %q in\n%s", command, want, said[command])
		}
	}
	nothingNew(t, before)
}

// chapter runs the commands of the first code block of a part of the book, in their order, and then after each; it returns what each said.
func chapter(t *testing.T, file, head string, then func(words string)) map[string]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, part, _ := strings.Cut(string(text), head)
	_, part, _ = strings.Cut(part, "\n```sh lab\n")
	block, _, _ := strings.Cut(part, "\n```\n")
	said := map[string]string{}
	for line := range strings.Lines(block) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " #")
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "make ") {
			continue
		}
		words, ok := strings.CutPrefix(line, "bin/vipd ")
		if !ok {
			t.Fatalf("what is %q?", line)
		}
		out, err := exec.Command("sh", "-c", program()+" "+words).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
		said[words] = string(out)
		then(words)
	}
	return said
}
