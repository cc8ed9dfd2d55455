package bpf

import (
	"slices"
	"strings"

	"github.com/cilium/ebpf"
)

// Maps of one value that the programs know by its address: sections of the object, which have the names of maps after Load.
const (
	LbMapTuning        = "tuning"
	LbMapServiceFilter = "service_filter"
	LbMapSourceFilter  = "source_filter"
	LbMapNearLinks     = "near_links"
	LbMapServiceHints  = "service_hints"
)

// Load reads the object. Unlike LoadLb it gives the sections above their names as maps, which can be pinned: a BPF file
// system refuses a name with a dot.
func Load() (*ebpf.CollectionSpec, error) {
	spec, err := LoadLb()
	if err != nil {
		return nil, err
	}
	return Named(spec), nil
}

// Named gives those sections of an object that has them their names as maps, and returns it.
func Named(spec *ebpf.CollectionSpec) *ebpf.CollectionSpec {
	named := []string{LbMapTuning, LbMapServiceFilter, LbMapSourceFilter, LbMapNearLinks, LbMapServiceHints}
	for _, name := range named {
		section := ".data." + name
		m, ok := spec.Maps[section]
		if !ok {
			continue
		}
		delete(spec.Maps, section)
		m.Name = name
		spec.Maps[name] = m
	}
	for _, p := range spec.Programs {
		for i := range p.Instructions {
			ins := &p.Instructions[i]
			if name, ok := strings.CutPrefix(ins.Reference(), ".data."); ok && ins.IsLoadFromMap() && slices.Contains(named, name) {
				*ins = ins.WithReference(name)
			}
		}
	}
	return spec
}
