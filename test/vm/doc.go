// Package vm runs whole things in a VM with Debian's kernel, beside what stands there: the kernel's own IPVS, driven by
// the real ipvsadm. It shows that what this repository keeps as facts about them (traces, recorded outputs) is true,
// and that the packet path does the same on the oldest kernel that is promised. It holds tests only.
//
// Invariant: a fact is compared with what the kernel does now, never with what another test of ours expects.
package vm
