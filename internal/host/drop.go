package host

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// DropTable says where DropTo keeps its rules.
type DropTable struct {
	Name     string // of the nftables table, family inet. If empty, keepalived.
	Priority int32  // of its chains. keepalived: -1
}

// DropTo makes the host drop packets to these addresses and from them, and to no others: what RFC 9568 8.1.2 and 8.2.3
// ask of a router that is not the owner and has no Accept_Mode. With no address the table goes. It is made anew as a
// whole in one transaction.
//
// RFC 9568 6.1: "IPv6 Neighbor Solicitations and Neighbor Advertisements MUST NOT be dropped when Accept_Mode is False".
func DropTo(t DropTable, all []netip.Addr) error {
	if t.Name == "" {
		t.Name = "keepalived"
	}
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	have, err := c.ListTableOfFamily(t.Name, nftables.TableFamilyINet)
	switch {
	case err == nil && have != nil:
		c.DelTable(have)
	case len(all) == 0: // there is none, or there is no nftables at all
		return nil
	}
	if len(all) > 0 {
		if err := addDropTable(c, t, all); err != nil {
			return err
		}
	}
	if err := c.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("write nftables table inet %s: %w", t.Name, err)
	}
	return nil
}

// direction is one chain: which hook, and where the address stands in the header of each family.
type direction struct {
	name     string
	hook     *nftables.ChainHook
	at4, at6 uint32
}

func addDropTable(c *nftables.Conn, t DropTable, all []netip.Addr) error {
	table := c.AddTable(&nftables.Table{Name: t.Name, Family: nftables.TableFamilyINet})
	set4 := &nftables.Set{Table: table, Name: "vips", KeyType: nftables.TypeIPAddr}
	set6 := &nftables.Set{Table: table, Name: "vips6", KeyType: nftables.TypeIP6Addr}
	var in4, in6 []nftables.SetElement
	for _, a := range all {
		if a.Is4() {
			in4 = append(in4, nftables.SetElement{Key: a.AsSlice()})
		} else {
			in6 = append(in6, nftables.SetElement{Key: a.AsSlice()})
		}
	}
	if err := errors.Join(c.AddSet(set4, in4), c.AddSet(set6, in6)); err != nil {
		return fmt.Errorf("make nftables set: %w", err)
	}
	priority := nftables.ChainPriority(t.Priority)
	for _, d := range []direction{
		{"in", nftables.ChainHookInput, 16, 24},
		{"out", nftables.ChainHookOutput, 12, 8},
	} {
		chain := c.AddChain(&nftables.Chain{Name: d.name, Table: table, Type: nftables.ChainTypeFilter, Hooknum: d.hook, Priority: &priority})
		for _, kind := range []byte{neighbourSolicit, neighbourAdvert} {
			c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(ofFamily(unix.NFPROTO_IPV6), icmp6(kind)...)})
		}
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(ofFamily(unix.NFPROTO_IPV4), dropIn(set4, d.at4, 4)...)})
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(ofFamily(unix.NFPROTO_IPV6), dropIn(set6, d.at6, 16)...)})
	}
	return nil
}

// ICMPv6 types of RFC 4861 4.3 and 4.4.
const (
	neighbourSolicit = 135
	neighbourAdvert  = 136
)

func ofFamily(proto byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}},
	}
}

// icmp6 accepts one type of ICMPv6.
func icmp6(kind byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_ICMPV6}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{kind}},
		&expr.Verdict{Kind: expr.VerdictAccept},
	}
}

// dropIn drops what has an address of the set at that place of its IP header.
func dropIn(set *nftables.Set, at, length uint32) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: at, Len: length},
		&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID},
		&expr.Counter{},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}
}
