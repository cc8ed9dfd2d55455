package test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// tab is a page of a real browser, which is spoken to over a pipe: JSON messages, each ended by a zero (the DevTools protocol,
// --remote-debugging-pipe).
type tab struct {
	t       *testing.T
	to      *os.File
	answers chan answer
	session string
	last    int
}

type answer struct {
	ID     int             `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *struct{ Message string }
}

// openTab starts Chromium, which ends with the test.
func openTab(t *testing.T) *tab {
	t.Helper()
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
		"--user-data-dir="+t.TempDir(), "--remote-debugging-pipe", "about:blank")
	cmd.ExtraFiles = []*os.File{theirIn, theirOut}
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	cmd.Stderr = &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirIn.Close()
	theirOut.Close()
	b := &tab{t: t, to: ourOut, answers: make(chan answer, 64)}
	go b.read(ourIn)
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
		ourOut.Close()
		if t.Failed() {
			t.Logf("chromium: %.2000s", log.String())
		}
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var session struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &session)
	b.session = session.SessionID
	return b
}

// read passes answers on; what the browser tells by itself has no number.
func (b *tab) read(from *os.File) {
	defer close(b.answers)
	defer from.Close()
	for r := bufio.NewReader(from); ; {
		message, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var a answer
		if json.Unmarshal(bytes.TrimSuffix(message, []byte{0}), &a) == nil && a.ID > 0 {
			b.answers <- a
		}
	}
}

func (b *tab) try(method string, params, result any) error {
	b.last++
	text, err := json.Marshal(map[string]any{"id": b.last, "method": method, "params": params, "sessionId": b.session})
	if b.session == "" {
		text, err = json.Marshal(map[string]any{"id": b.last, "method": method, "params": params})
	}
	if err != nil {
		return err
	}
	if _, err := b.to.Write(append(text, 0)); err != nil {
		return err
	}
	limit := time.After(60 * time.Second)
	for {
		select {
		case a, ok := <-b.answers:
			switch {
			case !ok:
				return errors.New("the browser has ended")
			case a.ID != b.last:
			case a.Error != nil:
				return errors.New(a.Error.Message)
			case result != nil:
				return json.Unmarshal(a.Result, result)
			default:
				return nil
			}
		case <-limit:
			return fmt.Errorf("no answer to %s within a minute", method)
		}
	}
}

func (b *tab) call(method string, params, result any) {
	b.t.Helper()
	if err := b.try(method, params, result); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
}

// run evaluates JavaScript in the page and returns its value as text. While a page is being left there is none.
func (b *tab) run(script string) (string, error) {
	var out struct {
		Result           struct{ Value any }
		ExceptionDetails *struct{ Text string }
	}
	err := b.try("Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true, "returnByValue": true, "userGesture": true}, &out)
	if err == nil && out.ExceptionDetails != nil {
		err = errors.New(out.ExceptionDetails.Text)
	}
	return fmt.Sprint(out.Result.Value), err
}

// until waits until a script's value is true.
func (b *tab) until(what, script string) {
	b.t.Helper()
	var said string
	var err error
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if said, err = b.run(script); err == nil && said == "true" {
			return
		}
	}
	page, _ := b.run("document.documentElement.outerHTML")
	b.t.Fatalf("after a minute not so: %s: %s, %v\n%.6000s", what, said, err, page)
}

func (b *tab) open(url string) {
	b.t.Helper()
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	b.until(url+" is loaded", fmt.Sprintf("document.readyState == 'complete' && location.href.startsWith(%q)", url))
}

// key presses a key, as a person without a mouse does.
func (b *tab) key(name string, code int) {
	b.t.Helper()
	for _, what := range []string{"keyDown", "keyUp"} {
		b.call("Input.dispatchKeyEvent", map[string]any{"type": what, "key": name, "code": name, "windowsVirtualKeyCode": code, "text": map[string]string{"keyDown": "\r"}[what]}, nil)
	}
}

// width makes the window so wide, and wants the page to fit into it.
func (b *tab) width(pixels int) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": pixels < 600}, nil)
	if wide, err := b.run("[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.outerHTML).concat(document.documentElement.scrollWidth > innerWidth ? ['the page'] : []).join('\\n')"); err != nil || wide != "" {
		b.t.Errorf("at %d pixels something is out of sight (%v):\n%.2000s", pixels, err, wide)
	}
	b.keep(fmt.Sprintf("%s-%d.png", filepath.Base(b.t.Name()), pixels))
}

// keep writes a picture of the whole page to the folder that VIPD_SCREENSHOTS names, to be looked at.
func (b *tab) keep(name string) {
	dir := os.Getenv("VIPD_SCREENSHOTS")
	if dir == "" {
		return
	}
	var shot struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &shot)
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d-%s", b.last, name)), data, 0o644)
	}
	if err != nil {
		b.t.Error(err)
	}
}
