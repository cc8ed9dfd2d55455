package daemon

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestTextLinesCanBeReadAndGreppedFor(t *testing.T) {
	var b bytes.Buffer
	ev, err := newEvents(&b, "text", false)
	if err != nil {
		t.Fatal(err)
	}
	ev.Info("(VI_1) Entering MASTER STATE", "vi", "VI_1")
	ev.Warn("odd", "vs", "a b")
	ev.Debug("a detail")
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 2 || !strings.HasSuffix(lines[0], " (VI_1) Entering MASTER STATE vi=VI_1") || !strings.HasSuffix(lines[1], ` WARNING odd vs="a b"`) {
		t.Errorf("got %q", lines)
	}
}

func TestJSONLinesAreObjectsAndDetailsComeOnRequest(t *testing.T) {
	var b bytes.Buffer
	ev, err := newEvents(&b, "json", true)
	if err != nil {
		t.Fatal(err)
	}
	ev.Debug("a detail", "vi", "VI_1")
	var line map[string]any
	if err := json.Unmarshal(b.Bytes(), &line); err != nil || line["msg"] != "a detail" || line["vi"] != "VI_1" {
		t.Errorf("%v: %s", err, b.String())
	}
}

func TestAnUnknownLogFormatIsAFailureWithAHint(t *testing.T) {
	_, err := newEvents(nil, "xml", false)
	var f *Failure
	if !errors.As(err, &f) || !strings.Contains(f.Hint, "json") || !strings.Contains(f.Error(), `"xml"`) {
		t.Errorf("got %v", err)
	}
}
