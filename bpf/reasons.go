package bpf

import (
	"strings"
	"sync"

	"github.com/cilium/ebpf/btf"
)

// Reasons are the names of enum reason by number, in lower case: what became of a packet, and why. The first word is the
// verdict: pass (to the host), forward, reply or drop. They are read from the object, which is the only list of them.
var Reasons = sync.OnceValue(func() []string {
	names := make([]string, LbReasonREASONS)
	spec, err := LoadLb()
	if err != nil {
		panic(err) // the object is part of this binary
	}
	var reason *btf.Enum
	if err := spec.Types.TypeByName("reason", &reason); err != nil {
		panic(err)
	}
	for _, v := range reason.Values {
		if int(v.Value) < len(names) {
			names[v.Value] = strings.ToLower(v.Name)
		}
	}
	return names
})
