/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * vlan.h: tags in front of the network header (IEEE 802.1Q, 802.1ad), as a card hands them over that does not take them off
 * by itself, and which frames are ours.
 */
#ifndef VIPD_VLAN_H
#define VIPD_VLAN_H

#include "packet.h"

static __always_inline int tag(__be16 type)
{
	return type == be16(ETH_VLAN) || type == be16(ETH_QINQ);
}

/* A tag as we keep it. Identifier 0 carries a priority and no VLAN. */
static __always_inline __be16 tag_kept(__be16 type, __be16 tci)
{
	__be16 id = tci & be16(VLAN_ID);

	return id && type == be16(ETH_QINQ) ? id | be16(VLAN_AD) : id;
}

static __always_inline __be16 tag_type(__be16 kept)
{
	return kept & be16(VLAN_AD) ? be16(ETH_QINQ) : be16(ETH_VLAN);
}

/* The interface whose frame it is, other than the one that it came in by; NULL: nobody's. */
static __noinline __u32 *station_of(__u32 ifindex, __be16 outer, __be16 inner, struct eth *eth)
{
	struct station key = { .ifindex = ifindex, .tci = { outer, inner } };

	__builtin_memcpy(key.mac, eth->dst, 6);
	return bpf_map_lookup_elem(&stations, &key);
}

/* Frames to another station (promiscuous mode), to all and to groups are the host's: IPVS takes PACKET_HOST only. */
static __always_inline int ours(__u32 ifindex, __be16 outer, __be16 inner, struct eth *eth)
{
	struct tunables *t;

	if (!outer && link_is(link_at(ifindex), eth))
		return 1;
	t = settings();
	return t && t->have & HAVE_STATIONS && station_of(ifindex, outer, inner, eth);
}

/*
 * What stands in front of the network header, from the lowest bits: where that begins (8), whether the frame is ours (8), its
 * type (be16), the tags as in real.tci (32).
 */
__noinline __u64 parse_tags(struct xdp_md *ctx)
{
	struct eth *eth = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__be16 type, outer = 0, inner = 0;
	struct vlan *v = (void *)(eth + 1);
	__u64 at = sizeof(*eth), mine;

	if ((void *)v > end)
		return 0;
	type = eth->type;
	if (tag(type) && (void *)(v + 1) <= end) {
		outer = tag_kept(type, v->tci);
		type = v->type;
		at += sizeof(*v);
		if (tag(type) && (void *)(v + 2) <= end) {
			inner = tag_kept(type, v[1].tci);
			type = v[1].type;
			at += sizeof(*v);
		}
		if (!outer) { /* a priority in front of a VLAN's tag */
			outer = inner;
			inner = 0;
		}
	}
	mine = ours(ctx->ingress_ifindex, outer, inner, eth);
	return at | mine << 8 | (__u64)type << 16 | (__u64)outer << 32 | (__u64)inner << 48;
}

/* The verifier needs to see that `at` is small before it is added. */
static __always_inline int frame_behind(struct xdp_md *ctx, struct frame *f, __u32 at)
{
	if (at > MAX_LINK)
		return 1;
	forget_bounds(at);
	frame_at(ctx, f, at & 31);
	return (void *)(f->eth + 1) > f->end;
}

/* How many tags these are. */
static __always_inline int tags_of(__u32 tci)
{
	return !!(tci & 0xffff) + !!(tci >> 16);
}

/*
 * Puts these tags in place of those that the link header has, which takes `at` bytes; its addresses stay. Everything else is
 * done: pointers into the frame are void after this.
 */
static __noinline enum step relink(struct xdp_md *ctx, __u32 at, __u32 tci)
{
	__u32 want = sizeof(struct eth) + tags_of(tci) * sizeof(struct vlan), type_at = at - 2, macs[3];
	__be16 *type, last, outer = tci, inner = tci >> 16;
	struct eth *eth;
	struct vlan *v;

	if (at < sizeof(struct eth) || at > MAX_LINK)
		return DONE;
	forget_bounds(type_at);
	eth = (void *)(long)ctx->data;
	type = (void *)eth + (type_at & 31);
	forget_bounds(eth); /* clang would see that one of these holds the other, which the verifier does not */
	if ((void *)(type + 1) > (void *)(long)ctx->data_end || (void *)(eth + 1) > (void *)(long)ctx->data_end)
		return DONE;
	last = *type;
	__builtin_memcpy(macs, eth, sizeof(macs));
	if (bpf_xdp_adjust_head(ctx, (int)at - (int)want))
		return DONE;
	eth = (void *)(long)ctx->data;
	v = (void *)(eth + 1);
	if ((void *)(v + 2) > (void *)(long)ctx->data_end)
		return DONE;
	__builtin_memcpy(eth, macs, sizeof(macs));
	eth->type = last;
	if (!outer)
		return NEXT;
	eth->type = tag_type(outer);
	v[0] = (struct vlan){ .tci = outer & be16(VLAN_ID), .type = last };
	if (!inner)
		return NEXT;
	v[0].type = tag_type(inner);
	v[1] = (struct vlan){ .tci = inner & be16(VLAN_ID), .type = last };
	return NEXT;
}

/* The interface that it came in by, as the host would say it: a VLAN's. */
static __always_inline __u32 came_by(struct xdp_md *ctx, struct frame *f)
{
	__u32 by = READ_ONCE(ctx->ingress_ifindex); /* else clang makes one load of either, by an address in ctx that it adds up */
	__u32 *vlan = f->tci ? station_of(by, f->tci, f->tci >> 16, f->eth) : NULL;

	return vlan ? *vlan : by;
}

#endif
