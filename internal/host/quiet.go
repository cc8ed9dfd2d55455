package host

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Quiet keeps VMACs from saying what only the master's MAC address may be heard with, and no other: a switch that hears
// a backup's would send the frames of the virtual router there. Reports of group membership leave by the parent instead
// (parents gives it for each VMAC, by index), router solicitations not at all. With none the tables go.
//
// keepalived: the same tables, ip and ip6, of the name of its own.
func Quiet(t DropTable, parents map[int]int) error {
	if t.Name == "" {
		t.Name = "keepalived"
	}
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	for _, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
		have, err := c.ListTableOfFamily(t.Name, family)
		if err == nil && have != nil {
			c.DelTable(have)
		}
		if len(parents) == 0 {
			continue
		}
		if err := addQuietTable(c, t, family, parents); err != nil {
			return err
		}
	}
	if err := c.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("write nftables table %s: %w", t.Name, err)
	}
	return nil
}

// Types of ICMPv6: RFC 3810 §5.2, RFC 4861 §4.1.
const (
	listenerReport = 143
	routerSolicit  = 133
)

func addQuietTable(c *nftables.Conn, t DropTable, family nftables.TableFamily, parents map[int]int) error {
	table := c.AddTable(&nftables.Table{Name: t.Name, Family: family})
	priority := nftables.ChainPriority(t.Priority)
	chain := c.AddChain(&nftables.Chain{Name: "out", Table: table, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookOutput, Priority: &priority})
	set := &nftables.Set{Table: table, Name: "vmac_map", IsMap: true, KeyType: nftables.TypeIFIndex, DataType: nftables.TypeIFIndex,
		KeyByteOrder: binaryutil.NativeEndian}
	var elements []nftables.SetElement
	for vmac, parent := range parents {
		elements = append(elements, nftables.SetElement{Key: native.AppendUint32(nil, uint32(vmac)), Val: native.AppendUint32(nil, uint32(parent))})
	}
	if err := c.AddSet(set, elements); err != nil {
		return fmt.Errorf("make nftables map: %w", err)
	}
	if family == nftables.TableFamilyIPv4 {
		// The protocol is the tenth byte of an IPv4 header, the destination its last four.
		igmp := []expr.Any{
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 9, Len: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_IGMP}},
		}
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(igmp, byParent(set, 16, 4)...)})
		return nil
	}
	// An IPv6 destination is the last 16 bytes of 40.
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(isICMP6(listenerReport), byParent(set, 24, 16)...)})
	solicit := slices.Concat(isICMP6(routerSolicit), ofVMAC(set), []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: solicit})
	return nil
}

func isICMP6(kind byte) []expr.Any { return icmp6(kind)[:4] }

// ofVMAC puts the parent of the interface that a packet leaves by into register 2, if that is a VMAC.
func ofVMAC(set *nftables.Set) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIF, Register: 2},
		&expr.Lookup{SourceRegister: 2, DestRegister: 2, IsDestRegSet: true, SetName: set.Name, SetID: set.ID},
	}
}

// byParent sends a copy out of the parent and drops the packet. The destination, at that place of the header, is the way.
func byParent(set *nftables.Set, at, length uint32) []expr.Any {
	return slices.Concat(ofVMAC(set), []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: at, Len: length},
		&expr.Dup{RegAddr: 1, RegDev: 2, IsRegDevSet: true},
		&expr.Verdict{Kind: expr.VerdictDrop},
	})
}
