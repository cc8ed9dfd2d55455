package mail

import (
	"bufio"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestRepliesOfOneAndOfSeveralLines(t *testing.T) {
	for in, want := range map[string]Reply{
		"220 mail.example ESMTP\r\n": {220, []string{"mail.example ESMTP"}},
		"250\r\n":                    {250, []string{""}},
		"250 \n":                     {250, []string{""}},
		"250-one\r\n250-STARTTLS\r\n250 AUTH a b\r\n250": {250, []string{"one", "STARTTLS", "AUTH a b"}},
	} {
		got, err := ReadReply(bufio.NewReader(strings.NewReader(in)))
		if err != nil || got.Code != want.Code || !slices.Equal(got.Text, want.Text) {
			t.Errorf("%q: got %v, %v", in, got, err)
		}
	}
}

func TestWhatIsNoReplyIsRefused(t *testing.T) {
	for name, in := range map[string]string{
		"another protocol": "SSH-2.0-OpenSSH_9.2\r\n", "two digits": "22\r\n", "a code that there is not": "999 x\r\n", "below 200": "100 x\r\n",
		"codes that differ": "250-a\r\n251 b\r\n", "no space": "250x\r\n", "a line without end": strings.Repeat("2", 1<<20),
		"lines without end": strings.Repeat("250-"+strings.Repeat("x", 500)+"\r\n", 1000), "nothing": "\r\n",
	} {
		if got, err := ReadReply(bufio.NewReader(strings.NewReader(in))); !errors.Is(err, errReply) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

func TestExtensionsAreFoundInAnyCaseButNotInTheGreeting(t *testing.T) {
	r := Reply{250, []string{"STARTTLS at your service", "Auth LOGIN plain", "8BITMIME"}}
	if _, ok := r.has("STARTTLS"); ok {
		t.Error("the relay's name was taken for an extension")
	}
	if words, ok := r.has("AUTH"); !ok || !contains(words, "PLAIN") {
		t.Errorf("AUTH: %v, %v", words, ok)
	}
}

func FuzzReadReply(f *testing.F) {
	for _, s := range []string{"220 x\r\n", "250-a\r\n250 b\r\n", "250", "\r\n", "250-\r\n\r\n", "5\x0050 x\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		src := strings.NewReader(string(in))
		got, err := ReadReply(bufio.NewReader(src))
		if err == nil && (got.Code < 200 || got.Code > 599 || len(got.Text) == 0) {
			t.Errorf("%q was taken for %v", in, got)
		}
		total := 0
		for _, l := range got.Text {
			total += len(l)
		}
		if total > maxReply {
			t.Errorf("%d bytes were kept", total)
		}
	})
}
