package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Balancers are the programs in this network namespace that do what this one does, keepalived and ldirectord, each as
// "NAME (pid N)". Processes that this one may not look at are not found.
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
		all = append(all, fmt.Sprintf("%s (pid %s)", name, filepath.Base(dir)))
	}
	return all
}
