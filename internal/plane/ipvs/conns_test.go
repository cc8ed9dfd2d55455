package ipvs

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vipd/internal/lb"
	"vipd/internal/plane"
)

func conn(p lb.Protocol, client, virtual, real string, expires int) lb.Conn {
	return lb.Conn{Protocol: p, Client: netip.MustParseAddrPort(client), Virtual: netip.MustParseAddrPort(virtual),
		Real: netip.MustParseAddrPort(real), Expires: time.Duration(expires) * time.Second}
}

func in(c lb.Conn, s lb.State) entry { c.State = s; return entry{Conn: c} }

func template(c lb.Conn, assured bool) entry {
	c.Template, c.Assured = true, assured
	return entry{Conn: c}
}

func TestConnectionsAreReadAsTheKernelListsThem(t *testing.T) {
	sipTemplate := template(conn(lb.UDP, "10.0.4.102:0", "10.0.8.9:5060", "10.0.8.13:5060", 59), true)
	sipTemplate.Engine, sipTemplate.EngineData = "sip", "abc123@10.0.4.102"
	synced := in(conn(lb.TCP, "[2001:db8:4::102]:50021", "[2001:db8:8::9]:80", "[2001:db8:8::12]:80", 898), lb.Established)
	synced.synced = true
	for name, want := range map[string][]entry{
		"conn": {
			template(conn(lb.TCP, "10.0.4.102:0", "10.0.8.9:65535", "10.0.8.13:65535", 9), true),
			template(conn(lb.TCP, "10.0.4.103:0", "10.0.8.9:80", "10.0.8.12:80", 9), false),
			in(conn(lb.TCP, "10.0.4.102:41004", "10.0.8.9:80", "10.0.8.13:80", 899), lb.Established),
			in(conn(lb.TCP, "10.0.4.102:0", "10.0.8.9:1025", "10.0.8.12:1025", 119), lb.Listen),
			in(conn(lb.TCP, "10.0.4.102:41005", "10.0.8.9:80", "10.0.8.13:80", 0), lb.FinWait),
			in(conn(lb.TCP, "10.0.4.102:45021", "10.77.0.1:80", "0.0.0.0:0", 899), lb.Established),
			template(conn(lb.IP, "10.0.4.102:0", "0.0.0.7:0", "10.0.8.13:0", 9), true),
			sipTemplate,
			in(conn(lb.UDP, "10.0.4.102:5061", "10.0.8.9:5060", "10.0.8.12:5060", 299), lb.None),
			in(conn(lb.UDP, "[2001:db8:4::102]:43011", "[2001:db8:8::9]:53", "10.0.8.13:53", 299), lb.None),
			in(conn(lb.SCTP, "10.0.4.102:42001", "10.0.8.9:36412", "10.0.8.13:36412", 60), lb.SCTPClosed),
			in(conn(lb.SCTP, "10.0.4.102:42002", "10.0.8.9:36412", "10.0.8.12:36412", 899), lb.SCTPEstablished),
			in(conn(50, "10.0.4.102:500", "10.0.8.9:500", "10.0.8.12:500", 1), unknownState),
		},
		"conn_sync": {synced, in(conn(lb.TCP, "10.0.4.102:40301", "10.0.8.9:80", "10.0.8.13:80", 895), lb.Established)},
	} {
		f, err := os.Open(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var got []entry
		if err := readConns(f, func(e entry) bool { got = append(got, e); return true }); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, cmp.AllowUnexported(entry{}), byAddrPort); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestAReaderThatHasSeenEnoughEndsTheFile(t *testing.T) {
	f, err := os.ReadFile("testdata/conn")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := readConns(bytes.NewReader(f), func(entry) bool { n++; return n < 3 }); err != nil || n != 3 {
		t.Errorf("%d visits, %v", n, err)
	}
}

const heading = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"

func TestALineThatIsNoConnectionIsAnError(t *testing.T) {
	for _, text := range []string{"", "sl  local_address\n", heading + "TCP\n",
		heading + "TCQ 0A000466 A02C 0A000809 0050 0A00080D 0050 ESTABLISHED     899\n",
		heading + "IP_300 0A000466 A02C 0A000809 0050 0A00080D 0050 ESTABLISHED     899\n",
		heading + "TCP 0A00046 A02C 0A000809 0050 0A00080D 0050 ESTABLISHED     899\n",
		heading + "TCP 0A000466 A02G 0A000809 0050 0A00080D 0050 ESTABLISHED     899\n",
		heading + "TCP fe80::1%eth0 A02C 0A000809 0050 0A00080D 0050 ESTABLISHED     899\n",
		heading + "TCP 0A000466 A02C 0A000809 0050 0A00080D 0050 ESTABLISHED     -1\n",
		heading + "TCP 0A000466 A02C 0A000809 0050 0A00080D 0050 ESTABLISHED     899", // cut off
		heading + "TCP " + strings.Repeat("x", 2*maxLine) + "\n",
	} {
		if err := readConns(strings.NewReader(text), func(entry) bool { return true }); err == nil {
			t.Errorf("%.80q is taken", text)
		}
	}
}

func TestAConnectionHasTheMethodOfItsRealServerAlsoWhenThatIsGone(t *testing.T) {
	web := lb.ServiceKey{Protocol: lb.TCP, Addr: netip.MustParseAddrPort("10.0.8.9:80")}
	at := func(a string, f lb.Forward) plane.Real {
		return plane.Real{Real: lb.Real{Addr: netip.MustParseAddrPort(a), Forward: f}}
	}
	before := methodsOf([]plane.Pool{{Service: lb.Service{ServiceKey: web}, Reals: []plane.Real{at("10.0.8.12:80", lb.Route), at("10.0.8.13:80", lb.Tunnel)}},
		{Service: lb.Service{ServiceKey: lb.ServiceKey{Mark: 7}}, Reals: []plane.Real{at("10.0.8.14:0", lb.Tunnel)}}})
	now := methodsOf([]plane.Pool{{Service: lb.Service{ServiceKey: web}, Reals: []plane.Real{at("10.0.8.12:80", lb.Route), at("10.0.8.15:80", lb.Local)}}})
	for real, want := range map[string]lb.Forward{"10.0.8.12:80": lb.Route, "10.0.8.13:80": lb.Tunnel, "10.0.8.15:80": lb.Local,
		"10.0.8.14:443": lb.Tunnel, "0.0.0.0:0": lb.Bypass, "10.0.8.99:80": lb.Masq} {
		if got := now.find(conn(lb.TCP, "10.0.4.102:1", "10.0.8.9:80", real, 1), before); got != want {
			t.Errorf("%s: %s, want %s", real, got, want)
		}
	}
	if again := now.find(conn(lb.TCP, "10.0.4.102:1", "10.0.8.9:80", "10.0.8.13:80", 1), methods{}); again != lb.Tunnel {
		t.Errorf("what was asked for is forgotten: %s", again)
	}
}

func FuzzConns(f *testing.F) {
	for _, name := range []string{"conn", "conn_sync"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		lines := 0
		err := readConns(bytes.NewReader(b), func(e entry) bool {
			lines++
			if e.Expires < 0 || !e.Client.IsValid() || !e.Real.IsValid() {
				t.Errorf("entry %+v", e)
			}
			return true
		})
		if err == nil && lines != bytes.Count(b, []byte("\n"))-1 {
			t.Errorf("%d of %d lines", lines, bytes.Count(b, []byte("\n"))-1)
		}
	})
}

func BenchmarkConns(b *testing.B) {
	var text bytes.Buffer
	text.WriteString(heading)
	for i := range 10000 {
		fmt.Fprintf(&text, "TCP 0A%06X A02C 0A000809 0050 0A00080D 0050 ESTABLISHED     899\n", i)
	}
	for b.Loop() {
		if err := readConns(bytes.NewReader(text.Bytes()), func(entry) bool { return true }); err != nil {
			b.Fatal(err)
		}
	}
}
