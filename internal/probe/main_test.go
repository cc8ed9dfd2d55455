package probe

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"vipd/internal/health"
)

// apartVar has every test of this package that makes a check by Run have the answers read in a Cell.
const apartVar = "VIPD_TEST_APART"

// The clock of regexp2's timeouts runs on for a second after the last expression.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == CellWord {
		if err := ServeCell(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) > 2 && os.Args[1] == liarWord {
		lie(os.Args[2])
	}
	end := func() {}
	if os.Getenv(apartVar) != "" {
		end = allApart()
	}
	code := m.Run()
	end()
	if err := goleak.Find(goleak.IgnoreAnyFunction("github.com/dlclark/regexp2.runClock")); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// allApart has every kind that can be go through one Cell, until it is called off.
func allApart() (end func()) {
	cell := NewCell(nobodys, func(warn bool, text string) { fmt.Println("cell:", warn, text) })
	for _, kind := range apart {
		check := kinds[kind]
		kinds[kind] = func(ctx context.Context, c health.Checker) health.Result {
			to, err := cell.tenant(ctx)
			if err != nil {
				return health.Result{Inconclusive: true, Why: err.Error()}
			}
			ctx, _ = sent(ctx, to, c.Kind)
			return check(ctx, c)
		}
	}
	return cell.Close
}
