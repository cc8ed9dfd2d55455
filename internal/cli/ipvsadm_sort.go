package cli

import (
	"cmp"
	"net/netip"
	"slices"

	"vipd/internal/control"
	"vipd/internal/lb"
)

// ipvsadm compares numbers by signed 32-bit subtraction: 200.0.0.1 comes before 9.255.255.255. Over large distances that
// is not an order, so the outcome depends on the algorithm and on the input's order as well; both are reproduced here.

// inKernelOrder gives services as the kernel lists them: by row of its hash table, then by mark, the newest first within
// a row; real servers the newest first.
//
// ipvs: the kernel's rows also depend on an address that changes at every boot; here it counts as zero.
func inKernelOrder(services []control.Service) []control.Service {
	out := slices.Clone(services)
	for i := range out {
		reals := slices.Clone(out[i].Reals)
		slices.Reverse(reals)
		out[i].Reals = reals
	}
	slices.Reverse(out)
	slices.SortStableFunc(out, func(a, b control.Service) int { return cmp.Compare(hashRow(a.ServiceKey), hashRow(b.ServiceKey)) })
	return out
}

// hashRow is the row of a service; rows of marks come after all others.
func hashRow(k lb.ServiceKey) uint32 {
	const rows = 256
	if k.Mark != 0 {
		return rows + k.Mark%rows
	}
	var folded uint32
	for _, w := range addrWords(k.Addr.Addr()) {
		folded ^= w
	}
	port := uint32(k.Addr.Port())
	return (uint32(k.Protocol) ^ folded ^ port>>8 ^ port) % rows
}

// addrWords gives an address as 32-bit numbers, one or four.
func addrWords(a netip.Addr) []uint32 {
	b := a.AsSlice()
	words := make([]uint32, len(b)/4)
	for i := range words {
		words[i] = uint32(b[4*i])<<24 | uint32(b[4*i+1])<<16 | uint32(b[4*i+2])<<8 | uint32(b[4*i+3])
	}
	return words
}

// sortedLikeIpvsadm puts services and their real servers into the order of a listing.
func sortedLikeIpvsadm(services []control.Service) []control.Service {
	for i := range services {
		services[i].Reals = mergeSort(services[i].Reals, compareReals)
	}
	return mergeSort(services, compareServices)
}

func compareServices(a, b control.Service) int {
	return cmp.Or(
		int(int32(a.Mark-b.Mark)),
		cmp.Compare(family(a.ServiceKey), family(b.ServiceKey)),
		int(a.Protocol)-int(b.Protocol),
		compareAddrs(a.Addr.Addr(), b.Addr.Addr()),
		int(a.Addr.Port())-int(b.Addr.Port()))
}

func family(k lb.ServiceKey) int {
	if k.V6 || k.Addr.Addr().Is6() {
		return 6
	}
	return 4
}

func compareReals(a, b control.Real) int {
	return cmp.Or(compareAddrs(a.Addr.Addr(), b.Addr.Addr()), int(a.Addr.Port())-int(b.Addr.Port()))
}

// compareAddrs compares as many words as both have.
func compareAddrs(a, b netip.Addr) int {
	x, y := addrWords(a), addrWords(b)
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return int(int32(x[i] - y[i]))
		}
	}
	return 0
}

// mergeSort is the algorithm behind the C library's qsort(3) of ipvsadm's time: halves, merged, the left one first when
// equal.
func mergeSort[T any](in []T, compare func(a, b T) int) []T {
	if len(in) < 2 {
		return in
	}
	left := mergeSort(slices.Clone(in[:len(in)/2]), compare)
	right := mergeSort(slices.Clone(in[len(in)/2:]), compare)
	out := make([]T, 0, len(in))
	for len(left) > 0 && len(right) > 0 {
		if compare(left[0], right[0]) > 0 {
			out, right = append(out, right[0]), right[1:]
		} else {
			out, left = append(out, left[0]), left[1:]
		}
	}
	return append(append(out, left...), right...)
}

// compareConns is the order of connections: a client's together, its templates first.
func compareConns(a, b lb.Conn) int {
	return cmp.Or(
		a.Client.Addr().Compare(b.Client.Addr()),
		cmp.Compare(a.Client.Port(), b.Client.Port()),
		cmp.Compare(a.Protocol, b.Protocol),
		a.Virtual.Compare(b.Virtual),
		a.Real.Compare(b.Real))
}
