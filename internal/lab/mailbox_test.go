package lab

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// box is a file as exim writes it: two mails, and a third one of which the beginning alone is there.
const box = `From director@example.org Thu Nov 26 17:30:21 2026
Received: from [10.0.8.25] (helo=a)
	by mail.example.org with esmtp (Exim 4.96)
	for ops@example.org; Thu, 26 Nov 2026 17:30:21 +0000
Date: Thu, 26 Nov 2026 17:30:20 +0000
From: director@example.org
Subject: [LVS_DEVEL] Realserver [10.0.8.13]:tcp:80 of virtual server [10.0.8.9]:tcp:80 - DOWN
To: ops@example.org

=> TCP CHECK failed on service <=
>From here on nothing is new.

From director@example.org Thu Nov 26 17:30:58 2026
Received: from [10.0.8.55] (helo=b) by mail.example.org
Date: Thu, 26 Nov 2026 17:30:58 +0000
Subject: [LVS_DEVEL] VRRP Instance VI_1 - Entering MASTER state

=> VRRP Instance is now owning VRRP VIPs <=

From director@example.org Thu Nov 26 17:31:00 2026
Rece`

func TestMailsAreRead(t *testing.T) {
	at := func(s int) time.Time { return time.Date(2026, 11, 26, 17, 30, s, 0, time.UTC) }
	want := []Mail{
		{at(20), "10.0.8.25", "[LVS_DEVEL] Realserver [10.0.8.13]:tcp:80 of virtual server [10.0.8.9]:tcp:80 - DOWN", "=> TCP CHECK failed on service <=\n>From here on nothing is new."},
		{at(58), "10.0.8.55", "[LVS_DEVEL] VRRP Instance VI_1 - Entering MASTER state", "=> VRRP Instance is now owning VRRP VIPs <="},
	}
	got := parseMails([]byte(box))
	if d := cmp.Diff(want, got, cmp.Transformer("UTC", func(m time.Time) string { return m.UTC().String() })); d != "" {
		t.Error(d)
	}
	l := &Lab{Site: NewSite("x")}
	for addr, want := range map[string]string{"10.0.8.25": "director1", "10.0.8.55": "director2", "10.9.9.9": "10.9.9.9", "": ""} {
		if got := l.hostAt(addr); got != want {
			t.Errorf("%q: %q, want %q", addr, got, want)
		}
	}
}

func FuzzMails(f *testing.F) {
	f.Add([]byte(box))
	f.Add([]byte("From \n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		mails := parseMails(data)
		if begins := bytes.Count(append([]byte("\n"), data...), []byte("\nFrom ")); len(mails) > begins {
			t.Errorf("%d mails begin, and %d were read", begins, len(mails))
		}
	})
}

func TestOfAUserEveryLossIsSaid(t *testing.T) {
	well := UserCheck{Server: "10.0.8.12", LoggedIn: true, Topic: true, Attachment: true}
	if why := well.Why(); len(why) > 0 {
		t.Errorf("all is well: %v", why)
	}
	for want, change := range map[string]func(*UserCheck){
		"logged out": func(c *UserCheck) { c.LoggedIn = false }, "topic is gone": func(c *UserCheck) { c.Topic = false },
		"attachment is gone": func(c *UserCheck) { c.Attachment = false }, "no answer: timeout": func(c *UserCheck) { c.Error = "timeout" },
	} {
		c := well
		change(&c)
		if why := strings.Join(c.Why(), "; "); !strings.Contains(why, want) || strings.Contains(why, ";") {
			t.Errorf("%s: %q", want, why)
		}
	}
}
