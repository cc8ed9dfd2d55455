/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * vlan.h: tags in front of the network header (IEEE 802.1Q, 802.1ad), as a card hands them over that does not take them off
 * by itself. A frame in a VLAN is ours if user space says that an interface of ours is there.
 */
#ifndef VIPD_VLAN_H
#define VIPD_VLAN_H

#include "packet.h"

enum { VID = 0x0fff };

static __always_inline int tag(__be16 type)
{
	return type == be16(ETH_VLAN) || type == be16(ETH_QINQ);
}

/* Identifier 0 carries a priority and no VLAN. */
static __always_inline struct link *tagged_link(__u32 ifindex, __be16 outer, __be16 inner)
{
	struct vlan_key key = { .ifindex = ifindex, .outer = outer, .inner = inner };

	return outer ? bpf_map_lookup_elem(&vlans, &key) : link_at(ifindex);
}

/*
 * What stands in front of the network header, from the lowest bits: where that begins (8), whether the frame is ours (8), its
 * type (be16), the identifiers as in real.tci (32).
 */
__noinline __u64 parse_tags(struct xdp_md *ctx)
{
	struct eth *eth = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__be16 type, outer = 0, inner = 0;
	struct vlan *v = (void *)(eth + 1);
	__u64 at = sizeof(*eth), ours;

	if ((void *)v > end)
		return 0;
	type = eth->type;
	if (tag(type) && (void *)(v + 1) <= end) {
		outer = v->tci & be16(VID);
		type = v->type;
		at += sizeof(*v);
		if (tag(type) && (void *)(v + 2) <= end) {
			inner = v[1].tci & be16(VID);
			type = v[1].type;
			at += sizeof(*v);
		}
		if (!outer) { /* a priority in front of a VLAN's tag */
			outer = inner;
			inner = 0;
		}
	}
	ours = link_is(tagged_link(ctx->ingress_ifindex, outer, inner), eth);
	return at | ours << 8 | (__u64)type << 16 | (__u64)outer << 32 | (__u64)inner << 48;
}

/* How many tags identifiers stand for. */
static __always_inline int tags_of(__u32 tci)
{
	return !!(tci & 0xffff) + !!(tci >> 16);
}

/*
 * Writes the real server's link header in place of the one that `at` bytes took. Everything behind it is done: pointers into
 * the frame are void after this.
 */
static __noinline enum step relink(struct xdp_md *ctx, __u32 at, struct real *r)
{
	__u32 tci = load32(r->tci), want = sizeof(struct eth) + tags_of(tci) * sizeof(struct vlan), type_at = at - 2;
	__be16 *type, last;
	struct eth *eth;
	struct vlan *v;

	if (at < sizeof(struct eth) || at > MAX_LINK)
		return DONE;
	forget_bounds(type_at);
	type = (void *)(long)ctx->data + (type_at & 31);
	if ((void *)(type + 1) > (void *)(long)ctx->data_end)
		return DONE;
	last = *type;
	if (bpf_xdp_adjust_head(ctx, (int)at - (int)want))
		return DONE;
	eth = (void *)(long)ctx->data;
	v = (void *)(eth + 1);
	if ((void *)(v + 2) > (void *)(long)ctx->data_end)
		return DONE;
	__builtin_memcpy(eth->dst, r->dst, 6);
	__builtin_memcpy(eth->src, r->src, 6);
	eth->type = last;
	if (!(tci & 0xffff))
		return NEXT;
	eth->type = tci >> 16 ? be16(ETH_QINQ) : be16(ETH_VLAN);
	v[0] = (struct vlan){ .tci = tci, .type = last };
	if (!(tci >> 16))
		return NEXT;
	v[0].type = be16(ETH_VLAN);
	v[1] = (struct vlan){ .tci = tci >> 16, .type = last };
	return NEXT;
}

#endif
