package mail

import (
	"strings"
	"testing"
	"time"
)

// TestAMessageIsWrittenAsKeepalivedWritesIt: the wanted text is what keepalived 2.2.7 sent for this event.
func TestAMessageIsWrittenAsKeepalivedWritesIt(t *testing.T) {
	m := Message{From: "vrrp@a.example", To: []string{"ops@b.example", "night@b.example"}, Subject: "[NODE_a] VRRP Instance VI_1 - Entering MASTER state",
		Body: "=> VRRP Instance is now owning VRRP VIPs <=", Date: time.Date(2026, 11, 26, 9, 5, 7, 0, time.FixedZone("", 3600))}
	want := "Date: Thu, 26 Nov 2026 09:05:07 +0100\r\nFrom: vrrp@a.example\r\nSubject: [NODE_a] VRRP Instance VI_1 - Entering MASTER state\r\n" +
		"X-Mailer: Keepalived\r\nTo: ops@b.example, night@b.example\r\n\r\n=> VRRP Instance is now owning VRRP VIPs <=\r\n\r\n.\r\n"
	if got := string(m.Bytes()); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestNothingInAMessageEndsItOrBeginsAHeader(t *testing.T) {
	m := Message{From: "a@b\r\nBcc: x@y", To: []string{"c@d\nBcc: x@y"}, Subject: "s\r\nBcc: x@y", Body: ".\r\n..\nQUIT\r\n.\r\n"}
	got := string(m.Bytes())
	if strings.Contains(got, "\nBcc:") || strings.Count(got, "\r\n.\r\n") != 1 || !strings.HasSuffix(got, "\r\n.\r\n") {
		t.Errorf("got %q", got)
	}
	if strings.Contains(strings.ReplaceAll(got, "\r\n", ""), "\n") {
		t.Errorf("a bare line feed is left in %q", got)
	}
}

func TestTheEnvelopeHasTheBareAddress(t *testing.T) {
	for in, want := range map[string]string{
		"a@b": "a@b", "Ops <a@b>": "a@b", " <a@b> ": "a@b", "\"O<ps\" <a@b>": "a@b", "a@b>\r\nRCPT TO:<x": "a@b>  RCPT TO:<x", "": "",
	} {
		if got := Envelope(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
