package cli

import (
	"slices"
	"testing"
)

// TestReadersAreCommands: a name that is not a command's would confine nothing.
func TestReadersAreCommands(t *testing.T) {
	var names []string
	for _, c := range newRootCommand(Env{}).Commands() {
		names = append(names, c.Name())
	}
	for _, r := range readers {
		if !slices.Contains(names, r) {
			t.Errorf("there is no command %s", r)
		}
	}
}
