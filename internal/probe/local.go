package probe

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vipd/internal/health"
	"vipd/internal/host"
)

// Commands makes the script of a MISC_CHECK ready to be run. false: it must not run, which has been said.
type Commands func(*health.Script) (host.Command, bool)

// misc makes a MISC_CHECK. Exit status 0 is good; with misc_dynamic 2 to 255 are a weight plus 2.
func misc(ctx context.Context, c health.Checker, ready Commands) health.Result {
	if c.Script == nil || ready == nil {
		return health.Result{Inconclusive: true, Why: "there is no command"}
	}
	cmd, ok := ready(c.Script)
	if !ok {
		return health.Result{Inconclusive: true, Why: "the command cannot be run: see the log of the start"}
	}
	if cmd.Timeout = c.Script.Timeout; cmd.Timeout <= 0 {
		cmd.Timeout = c.DelayLoop
	}
	cmd.Keep = maxOutput
	e := cmd.Run(ctx)
	witnessOf(ctx).received(e.Output)
	return exited(c, e)
}

const maxOutput = 1 << 10 // of a command: enough to say why

func exited(c health.Checker, e host.Exit) health.Result {
	switch {
	case e.Stopped:
		return health.Result{Inconclusive: true, Why: "cancelled"}
	case e.Err != nil:
		return health.Result{Inconclusive: true, Why: e.Err.Error()}
	case e.TimedOut:
		return health.Result{Why: "the command took too long", Timeout: true}
	case e.Code < 0:
		return said(health.Result{Why: e.String()}, fmt.Sprintf("due to signal %d", int(e.Signal)))
	case e.Code == 0:
		return health.Result{OK: true}
	case c.Script.Dynamic && e.Code >= 2:
		return health.Result{OK: true, Weight: e.Code - 2, HasWeight: true}
	}
	why := fmt.Sprintf("exit status %d", e.Code)
	if out := strings.TrimSpace(string(e.Output)); out != "" {
		line, _, _ := strings.Cut(out, "\n")
		why += ": " + strconv.Quote(line)
	}
	return said(health.Result{Why: why}, fmt.Sprintf("exited with status %d", e.Code))
}

const maxFile = 64 // bytes of a tracked file that count: a number

// file makes a FILE_CHECK: the number in a file. keepalived: a file that is not there counts as 0.
func file(_ context.Context, c health.Checker) health.Result {
	if c.File == nil {
		return health.Result{Inconclusive: true, Why: "there is no file"}
	}
	n, err := readNumber(c.File.Path)
	if err != nil {
		return health.Result{Inconclusive: true, Why: err.Error()}
	}
	if c.File.Weight == 0 {
		if (n == 0) == c.File.Reverse {
			return health.Result{Why: fmt.Sprintf("%s has %d", c.File.Path, n)}
		}
		return health.Result{OK: true}
	}
	factor := int64(c.File.Weight)
	if c.File.Reverse {
		factor = -factor
	}
	weight := n * factor
	if weight <= math.MinInt32 {
		return health.Result{Why: fmt.Sprintf("%s has %d", c.File.Path, n)}
	}
	return health.Result{OK: true, Weight: int(min(weight, math.MaxInt32)), HasWeight: true}
}

func readNumber(path string) (int64, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if os.IsNotExist(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	_ = f.SetReadDeadline(time.Now().Add(time.Second)) // of what is no file
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	text := strings.TrimSpace(string(b))
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s has %q, expected a number", path, text)
	}
	return n, nil
}
