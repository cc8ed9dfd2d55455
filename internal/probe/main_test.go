package probe

import (
	"testing"

	"go.uber.org/goleak"
)

// The clock of regexp2's timeouts runs on for a second after the last expression.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/dlclark/regexp2.runClock"))
}
