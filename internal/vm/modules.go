package vm

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"vipd/internal/need"
)

// usual are the modules that every machine has at hand: a trailing * stands for every name that begins so. The kernel
// loads them when something asks for them.
var usual = []string{
	"virtio_pci", "virtio_console",
	"veth", "dummy", "bridge", "8021q", "macvlan", "bonding", "vrf", "tun", "nlmon", "ipip", "sit", "ip_gre", "ip6_gre", "ip6_tunnel", "fou", "fou6",
	"ip_vs*", "nf_tables", "nft_*", "nf_conntrack*", "nf_nat*", "ip_tables", "iptable_*", "ip6_tables", "ip6table_*", "x_tables", "xt_*", "sctp",
	"sch_*", "cls_bpf", "act_mirred", "act_bpf", "inet_diag", "tcp_diag", "udp_diag", "sctp_diag", "crc32*",
}

// dependencies is modules.dep (depmod(8)): the file of each module, and the files that must be loaded before it.
type dependencies map[string][]string

func parseDependencies(text string) dependencies {
	d := dependencies{}
	for line := range strings.Lines(text) {
		file, rest, found := strings.Cut(strings.TrimSpace(line), ":")
		if found && file != "" {
			d[file] = strings.Fields(rest)
		}
	}
	return d
}

// moduleName is a file's name as modprobe(8) knows it: without the ending, and `-` is `_`.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// find returns the files that the wanted modules need, sorted. A wanted name without * must exist.
func (d dependencies) find(wanted []string) ([]string, error) {
	chosen := map[string]bool{}
	for _, want := range wanted {
		prefix, many := strings.CutSuffix(want, "*")
		found := many
		for file, before := range d {
			name := moduleName(file)
			if name == want || many && strings.HasPrefix(name, prefix) {
				found, chosen[file] = true, true
				for _, b := range before {
					chosen[b] = true
				}
			}
		}
		if !found {
			return nil, fmt.Errorf("the kernel has no module %s", want)
		}
	}
	var files []string
	for file := range chosen {
		files = append(files, file)
	}
	slices.Sort(files)
	return files, nil
}

// addModules brings the modules and the part of modules.dep and modules.alias that speaks of them.
func (a *archive) addModules(k need.Kernel, wanted []string) error {
	text, err := os.ReadFile(filepath.Join(k.Modules, "modules.dep"))
	if err != nil {
		return err
	}
	d := parseDependencies(string(text))
	files, err := d.find(wanted)
	if err != nil {
		return err
	}
	root := "/lib/modules/" + filepath.Base(k.Modules)
	var dep strings.Builder
	names := map[string]bool{}
	for _, file := range files {
		names[moduleName(file)] = true
		fmt.Fprintf(&dep, "%s: %s\n", file, strings.Join(d[file], " "))
		if err := a.bring(path.Join(root, file), filepath.Join(k.Modules, file)); err != nil {
			return err
		}
	}
	a.file(path.Join(root, "modules.dep"), 0o644, []byte(dep.String()))
	text, err = os.ReadFile(filepath.Join(k.Modules, "modules.alias"))
	if err != nil {
		return err
	}
	a.file(path.Join(root, "modules.alias"), 0o644, []byte(aliases(string(text), names)))
	return nil
}

// aliases keeps the lines of modules.alias ("alias PATTERN MODULE") that lead to a module of ours.
func aliases(text string, names map[string]bool) string {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "alias" && names[f[2]] {
			kept.WriteString(line)
		}
	}
	return kept.String()
}
