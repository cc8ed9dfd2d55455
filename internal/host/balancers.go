package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Balancers are the programs in this network namespace that do what this one does, keepalived and ldirectord, each as
// "NAME (pid N)", once for all processes of one. Processes that this one may not look at are not found.
func Balancers() (all []string) {
	own, _ := os.Readlink("/proc/self/ns/net")
	found, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, f := range found {
		text, _ := os.ReadFile(f)
		name := strings.TrimSpace(string(text))
		if name != "keepalived" && name != "ldirectord" {
			continue
		}
		dir := filepath.Dir(f)
		exe, _ := os.Readlink(filepath.Join(dir, "exe")) // vipd by its other name
		if ns, err := os.Readlink(filepath.Join(dir, "ns/net")); err != nil || ns != own || strings.HasSuffix(strings.TrimSuffix(exe, " (deleted)"), "/vipd") {
			continue
		}
		if parent, _ := os.ReadFile(filepath.Join("/proc", parentOf(dir), "comm")); strings.TrimSpace(string(parent)) == name {
			continue // one of several processes of the same
		}
		all = append(all, fmt.Sprintf("%s (pid %s)", name, filepath.Base(dir)))
	}
	return all
}

// parentOf is the process that made the one of a folder of /proc.
func parentOf(dir string) string {
	text, _ := os.ReadFile(filepath.Join(dir, "stat"))
	_, rest, _ := strings.Cut(string(text), ") ")
	if f := strings.Fields(rest); len(f) > 1 {
		return f[1]
	}
	return "0"
}
