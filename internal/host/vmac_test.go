package host

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"vipd/internal/need"
)

func TestAVMACIsAPrivateMacvlanThatIsTakenOver(t *testing.T) {
	c := newCable(t)
	want := VMAC{Name: "vrrp.51", Parent: c.near, MAC: MAC{0, 0, 0x5e, 0, 1, 51}, Group: -1}
	if made, err := MakeVMAC(want); err != nil || !made {
		t.Fatal(made, err)
	}
	t.Cleanup(func() { _ = RemoveVMAC(want.Name) })
	if made, err := MakeVMAC(want); err != nil || made {
		t.Errorf("one that is there is made again: %v, %v", made, err)
	}
	link, err := LinkByName(want.Name)
	if err != nil || link.Up || link.MAC != want.MAC || link.Kind != "macvlan" {
		t.Fatalf("%+v, %v", link, err)
	}
	if err := SwitchOn(want.Name); err != nil {
		t.Fatal(err)
	}
	if all, err := Addresses(want.Name); err != nil || len(all) > 0 {
		t.Errorf("it has addresses of its own: %v, %v", all, err)
	}
	have, err := VMACs()
	if err != nil || !slices.ContainsFunc(have, func(v VMAC) bool { return v.Name == want.Name && v.Parent == want.Parent && v.MAC == want.MAC }) {
		t.Errorf("%v, %v", have, err)
	}
	want.MAC[5] = 52
	if made, err := MakeVMAC(want); err != nil || !made {
		t.Errorf("one of another address is not replaced: %v, %v", made, err)
	}
	if err := RemoveVMAC(c.near); err != nil {
		t.Error(err)
	}
	if _, err := LinkByName(c.near); err != nil {
		t.Error("what is no macvlan was removed")
	}
	if err := RemoveVMAC(want.Name); err != nil {
		t.Error(err)
	}
	if _, err := LinkByName(want.Name); err == nil {
		t.Error("it is still there")
	}
}

func TestWhatAVMACMayNotSayIsSaidByItsParent(t *testing.T) {
	nft := need.Tool(t, "nft")
	c := newCable(t)
	v := VMAC{Name: "vrrp.9", Parent: c.near, MAC: MAC{0, 0, 0x5e, 0, 1, 9}, Group: -1}
	if _, err := MakeVMAC(v); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = RemoveVMAC(v.Name) })
	own, _ := LinkByName(v.Name)
	parent, _ := LinkByName(c.near)
	rules := func() string {
		out, err := exec.Command(nft, "list", "ruleset").CombinedOutput()
		if err != nil {
			t.Fatal(err, string(out))
		}
		return string(out)
	}
	if err := Quiet(DropTable{Name: "quiet", Priority: -1}, map[int]int{own.Index: parent.Index}); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"ip protocol igmp dup to ip daddr device oif map @vmac_map drop", "icmpv6 type mld2-listener-report dup to ip6 daddr device oif map @vmac_map drop", `"vrrp.9" : `} {
		if !strings.Contains(rules(), line) {
			t.Errorf("missing %s in\n%s", line, rules())
		}
	}
	if err := Quiet(DropTable{Name: "quiet"}, nil); err != nil || strings.Contains(rules(), "quiet") {
		t.Errorf("%v, left\n%s", err, rules())
	}
}
