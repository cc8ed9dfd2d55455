package vm

import (
	_ "embed"
	"path/filepath"
	"testing"

	"vipd/internal/vm"
)

//go:embed testdata/namespaces.sh
var namespacesScript string

// twiceScript plays the script of namespaces with ipvsadm and the kernel, and with the program by that name. What both print must
// be the same, and nothing may be left.
const twiceScript = `
sh namespaces.sh >theirs 2>&1 || { cat theirs; exit 1; }
grep -q ' -i ' theirs || { cat theirs; exit 1; }
mkdir ours.bin && ln -s /vm/vipd ours.bin/ipvsadm
PATH=/vm/ours.bin:$PATH VIPD_START=/vm/log sh namespaces.sh >ours 2>&1 || { cat ours log; exit 1; }
cmp theirs ours || { cat theirs ours log; exit 1; }
for n in $(seq 50); do pidof vipd >pids || break; sleep 0.2; done
[ -s pids ] && { cat pids log; ls /run/netns; exit 1; }
[ "$(grep -c 'this ends with it' log)" = 3 ] || { cat log; exit 1; }
[ -z "$(ls /run/vipd)" ] || { ls /run/vipd; exit 1; }
echo done
`

// TestAScriptOfNamespacesRunsUnchanged by direct routing, NAT and tunnels: with the real ipvsadm and the kernel's IPVS, and with
// VIPD_START. The machine's clock counts instructions: how long a start takes does not hang on what else runs. A daemon that it starts ends with its namespace, in time for the next network of the same names.
func TestAScriptOfNamespacesRunsUnchanged(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "vipd")
	buildProgram(t, binary)
	checkScript(t, vm.Config{Script: twiceScript, Tools: []string{"ip", "ipvsadm"}, Modules: []string{"bridge", "ipip"}, CountInstructions: true,
		Files: map[string]string{"/vm/vipd": binary}, Texts: map[string]string{"/vm/namespaces.sh": namespacesScript}, Output: t.Output()})
}
