package test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// upload is JavaScript that puts a file of 20,000 bytes into the forum's form, and a text.
const upload = `(() => {
	const form = document.querySelector("form.write");
	form.elements.title.value = "From a browser";
	form.elements.text.value = "With a picture.";
	const files = new DataTransfer();
	files.items.add(new File([new Uint8Array(20000).fill(7)], "picture.png"));
	form.elements.file.files = files.files;
	form.querySelector("button").click();
})()`

// fetched tells whether the attachment comes as it was sent.
const fetched = `(async () => {
	const answer = await fetch(document.querySelector("a.file").href);
	const bytes = new Uint8Array(await answer.arrayBuffer());
	return answer.ok && bytes.length == 20000 && bytes.every(b => b == 7);
})()`

// TestAPersonWatchesAndUsesTheSite in a real browser: logs in, writes, uploads; kills the real server that answered, by the page's
// button; is still logged in and has the attachment; and revives it.
func TestAPersonWatchesAndUsesTheSite(t *testing.T) {
	forum(t)
	if !alone(t, 4*time.Minute, "memcached", "vsftpd", "exim4", "chromium") {
		return
	}
	// The browser goes after the test, and its processes come and go.
	others := func() []string {
		return slices.DeleteFunc(left(t), func(line string) bool { return strings.Contains(line, "chrom") })
	}
	before := others()
	watch, site, end := startWeb(t)
	user, page := openTab(t), openTab(t)

	user.open(site + "login")
	user.run(`(() => { const form = document.querySelector("form.write"); form.elements.name.value = "Ann"; form.elements.password.value = "secret"; form.querySelector("button").click(); })()`)
	user.until("logged in", `document.querySelector("#user")?.textContent == "Ann"`)
	user.run(upload)
	user.until("the topic is there", `location.pathname.startsWith("/showtopic-") && document.querySelector("a.file")?.textContent == "picture.png"`)
	user.until("the attachment is there", fetched)
	user.width(1280)
	user.width(390)

	served, err := user.run(`document.querySelector("footer").textContent`)
	if err != nil {
		t.Fatal(err)
	}
	host := map[string]string{"Answered by " + fallen: "real1", "Answered by " + survivor: "real2"}[strings.TrimSpace(served)]
	page.open(watch)
	page.until("everything runs", `document.querySelector("#said").textContent.includes("Everything runs")`)
	page.run(fmt.Sprintf(`document.getElementById("%s-kill").click()`, host))
	page.until("it shows as down", fmt.Sprintf(`document.getElementById(%q).classList.contains("down")`, host))
	page.until("it is out of the pool", `document.querySelector("#events").textContent.includes("out of the pool")`)

	user.run("location.reload()")
	user.until("another one answers", fmt.Sprintf(`document.readyState == "complete" && document.querySelector("footer").textContent.trim() != %q`, strings.TrimSpace(served)))
	user.until("still logged in", `document.querySelector("#user")?.textContent == "Ann" && document.querySelector("article").textContent.includes("With a picture.")`)
	user.until("the attachment is still there", fetched)

	page.width(1280)
	page.width(390)
	page.until("the operator has a mail", `document.querySelector("#mails").textContent.includes("DOWN")`)
	page.run(fmt.Sprintf(`document.getElementById("%s-start").click()`, host))
	page.until("it is back", `document.querySelector("#said").textContent.includes("Everything runs") && document.querySelector("#events").textContent.includes("into the pool")`)
	page.width(1280)
	withoutScripts(t, watch)
	if lost, err := page.run(`document.querySelector("#lost").hidden`); err != nil || lost != "true" {
		t.Errorf("the page lost the lab: %s, %v", lost, err)
	}
	end()
	if after := others(); !slices.Equal(before, after) {
		t.Errorf("on the machine before: %q, and after: %q", before, after)
	}
}

// withoutScripts reads and uses the page in a browser that runs none: a button is a form, and the page comes again by itself.
func withoutScripts(t *testing.T, watch string) {
	t.Helper()
	plain := openTab(t)
	plain.call("Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
	plain.open(watch)
	plain.width(1280)
	plain.width(390)
	plain.until("it says how the site is", `document.querySelector("#said").textContent.includes("holds the virtual IP") && document.querySelectorAll("article.card").length == 8`)
	plain.run(`document.getElementById("mail-kill").click()`)
	plain.until("the button works", `document.getElementById("mail").classList.contains("down") && document.getElementById("mail-start") != null`)
}

// TestThePageShowsTheMethodContent: two HAProxy and a second pool are on it, and it fits.
func TestThePageShowsTheMethodContent(t *testing.T) {
	forum(t)
	if !alone(t, 4*time.Minute, "memcached", "vsftpd", "exim4", "haproxy", "chromium") {
		return
	}
	watch, _, end := startWeb(t, "--method", "content")
	page := openTab(t)
	page.open(watch)
	page.until("everything runs", `document.querySelector("#said").textContent.includes("Everything runs")`)
	page.until("both HAProxy and both of the second pool are there", `["proxy1", "proxy2", "real3", "real4"].every(id => document.getElementById(id))`)
	page.until("each pool has its name", `["10.0.8.41:80 in the pool", "10.0.8.13:80 in the pool topics", "10.0.8.14:80 in the pool attachments"].every(line => [...document.querySelectorAll("#director1 *")].some(e => e.textContent.trim() == line))`)
	page.width(1280)
	page.width(390)
	page.run(`document.getElementById("proxy1-kill").click()`)
	page.until("it shows as down", `document.getElementById("proxy1").classList.contains("down")`)
	page.width(1280)
	end()
	if os.Getenv("VIPD_SCREENSHOTS") == "" {
		return
	}
	for _, method := range []string{"nat", "tun"} {
		watch, _, end := startWeb(t, "--method", method)
		page.open(watch)
		page.until("everything runs", `document.querySelector("#said").textContent.includes("Everything runs")`)
		page.width(1280)
		page.width(390)
		end()
	}
}

// TestAPersonBreaksDirectorsAndNoConnection: the scene of open connections in a browser. director1 is killed by a key, returns, is cut off and
// plugged in again, and a round is begun and ended; the page tells of each how long the takeover took, and that nothing broke.
func TestAPersonBreaksDirectorsAndNoConnection(t *testing.T) {
	if !alone(t, 3*time.Minute, "chromium") {
		return
	}
	others := func() []string {
		return slices.DeleteFunc(left(t), func(line string) bool { return strings.Contains(line, "chrom") })
	}
	before := others()
	watch, _, end := startWeb(t, "--continuity", "--rounds", "0", "--sessions", "8", "--downloads", "4", "--per-second", "10")
	page := openTab(t)
	page.open(watch)
	page.until("all are connected", `document.querySelector("#session .is b").textContent == "8" && document.querySelector("#download .is b").textContent == "4"`)
	page.until("it says how they are", `/^director1 holds the virtual IP. 1[0-9] connections are open, and none has broken.$/.test(document.querySelector("#said").textContent)`)
	page.width(390)
	page.width(1280)

	page.run(`document.getElementById("director1-kill").focus()`)
	page.key("Enter", 13)
	page.until("the other director took over", `document.getElementById("director1").classList.contains("down") && document.getElementById("director2").classList.contains("holder")`)
	page.until("it says after what time, and what the announced lag was", `/director1 is killed, and taken over after [0-9.]+ s\. Of [0-9]+ connections .*, announced lag [0-9]+ ms/.test(document.querySelector("#steps").textContent)`)
	page.until("the focus is where it was", `document.activeElement.id == "director1-start"`)
	page.width(390)
	page.key("Enter", 13)
	page.until("it is back when it has caught up", `document.getElementById("director1").classList.contains("holder") && document.getElementById("director1").textContent.includes("has all of the other one's")`)
	// Its checks are made for the first time, and fail, while its cable is out: they must not keep the pool empty when it is master again.
	page.run(`document.getElementById("director1-cut").click()`)
	page.until("the other director took over again", `document.getElementById("director1").textContent.includes("its cable is pulled") && document.getElementById("director2").classList.contains("holder")`)
	page.run(`document.getElementById("director1-plug").click()`)
	page.until("it is back", `document.getElementById("director1").classList.contains("holder")`)

	plain := openTab(t)
	plain.call("Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
	plain.open(watch)
	plain.run(`document.getElementById("play-round").click()`)
	plain.until("without scripts it comes again by itself", `document.querySelector("#playing .note").textContent.startsWith("Round 1 of 1, step 1 of 7: director1 is stopped.")`)
	page.until("nobody disturbs the scene", `document.querySelector("li.now")?.textContent.startsWith("stop") && document.querySelectorAll("article button").length == 0`)
	page.width(1280)
	page.run(`document.getElementById("play-enough").click()`)
	page.until("it ends after its step", `document.querySelector("#said").textContent.startsWith("The scene held") && document.querySelector("li.over")?.textContent.startsWith("stop") && document.getElementById("play-round") != null`)
	if bad, err := page.run(`[...document.querySelectorAll("#steps .bad, #broken .bad")].map(e => e.textContent).join("\n")`); err != nil || bad != "" {
		t.Logf("broke, of which the young may: %s, %v", bad, err)
	}
	if bad, err := page.run(`document.querySelectorAll("#steps .bad").length`); err != nil || bad != "0" {
		t.Errorf("of the steps %s did not hold (%v)", bad, err)
	}
	page.width(390)
	page.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": "dark"}}}, nil)
	page.width(1280)
	end()
	page.until("it says that the lab has gone", `!document.querySelector("#lost").hidden`)
	if after := others(); !slices.Equal(before, after) {
		t.Errorf("on the machine before: %q, and after: %q", before, after)
	}
}

// startWeb is `vipd lab web` at free ports.
func startWeb(t *testing.T, args ...string) (watch, site string, end func()) {
	t.Helper()
	cmd := exec.Command(program(), append([]string{"lab", "web", "--listen", "127.0.0.1:0", "--forum-listen", "127.0.0.1:0"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = func() {
		t.Helper()
		cmd.Process.Signal(syscall.SIGINT)
		if err := cmd.Wait(); err != nil {
			t.Errorf("vipd lab web: %v\n%s", err, log.String())
		}
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if urls := regexp.MustCompile(`http://[0-9.:]+/`).FindAllString(lines.Text(), -1); len(urls) > 0 {
			return urls[0], urls[len(urls)-1], end
		}
	}
	end()
	t.Fatalf("vipd lab web says no address\n%s", log.String())
	return "", "", nil
}
