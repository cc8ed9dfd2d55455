/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ipv6.h: what an IPv6 header says (RFC 8200), and the connection that it belongs to. */
#ifndef VIPD_IPV6_H
#define VIPD_IPV6_H

#include "conn.h"

enum { EXTENSIONS = 8 };       /* headers in front of the transport that are walked; more is malformed */

static __always_inline int extension(__u8 next)
{
	return next == NEXT_HOP_BY_HOP || next == NEXT_ROUTING || next == NEXT_OPTIONS || next == NEXT_AUTH || next == NEXT_FRAGMENT;
}

/* What skip_extensions answers, of the headers so far: their length, what is behind them, enum piece. */
static __always_inline __u32 skipped_to(__u64 skipped)
{
	return skipped & 1023;
}

static __always_inline __u8 skipped_next(__u64 skipped)
{
	return skipped >> 16;
}

static __always_inline enum piece skipped_piece(__u64 skipped)
{
	return skipped >> 24 & 3;
}

/*
 * Over one header more. Every one of them begins with the next header and its own length, but for the fragment header, whose
 * length is fixed. Global, as skip_extensions: verified once, and not with each of what follows.
 */
__noinline __u64 skip_extension(struct xdp_md *ctx, __u32 from, __u64 skipped)
{
	void *end = (void *)(long)ctx->data_end;
	__u64 piece = skipped_piece(skipped), id = skipped >> 32;
	__u32 at = skipped_to(skipped);
	__u8 next = skipped_next(skipped), *header;
	struct ipv6_fragment *f;

	forget_bounds(from);
	header = (void *)(long)ctx->data + (from & 1023) + at;
	f = (void *)header;
	if ((void *)(f + 1) > end)
		return 0;
	if (next == NEXT_FRAGMENT && f->offset & be16(0xfff9)) {
		piece = f->offset & be16(0xfff8) ? LATER_FRAGMENT : FIRST_FRAGMENT;
		id = f->id;
	}
	if (next == NEXT_FRAGMENT)
		at += sizeof(*f);
	else
		at += next == NEXT_AUTH ? (header[1] + 2) * 4 : (header[1] + 1) * 8;
	return at > 512 ? 0 : at | (__u64)header[0] << 16 | piece << 24 | id << 32;
}

/*
 * Behind the IPv6 header that begins `from` bytes into the frame. From the lowest bits: length of all headers (16; 0:
 * malformed), the transport's number (8), enum piece (8), its id (32).
 */
__noinline __u64 skip_extensions(struct xdp_md *ctx, __u32 from)
{
	__u64 skipped;
	struct ipv6 *ip;

	forget_bounds(from);
	ip = (void *)(long)ctx->data + (from & 1023);
	if ((void *)(ip + 1) > (void *)(long)ctx->data_end)
		return 0;
	skipped = sizeof(*ip) | (__u64)ip->next << 16;
	for (int i = 0; i < EXTENSIONS; i++) {
		if (!skipped || !extension(skipped_next(skipped)) || skipped_piece(skipped) == LATER_FRAGMENT)
			return skipped;
		skipped = skip_extension(ctx, from, skipped);
	}
	return extension(skipped_next(skipped)) && skipped_piece(skipped) != LATER_FRAGMENT ? 0 : skipped;
}

/* The addresses, and where the transport header begins, behind whatever extension headers there are. */
static __always_inline enum step parse_ipv6_all(struct xdp_md *ctx, struct frame *f, struct packet *p)
{
	struct ipv6 *ip = f->ip6;
	__u64 skipped;
	__u8 next;

	p->length = be16(ip->length) + sizeof(*ip);
	__builtin_memcpy(p->addr, ip->src, sizeof(p->addr));
	f->header = sizeof(*ip);
	next = ip->next;
	if (unlikely(extension(next))) {
		skipped = skip_extensions(ctx, f->at);
		f->header = skipped_to(skipped);
		f->piece = skipped_piece(skipped);
		f->id = skipped >> 32;
		next = skipped_next(skipped);
		if (!f->header || f->header > p->length)
			return leave(p, PASS_MALFORMED);
	}
	p->ports = (__u64)KIND_IPV6 << 40 | (__u64)next << 32;
	return NEXT;
}

static __always_inline enum step parse_ipv6(struct xdp_md *ctx, struct frame *f, struct packet *p)
{
	struct ipv6 *ip = f->ip6;

	if (unlikely((void *)(ip + 1) > f->end || (ip->version_class_flow & 0xf0) != 0x60))
		return leave(p, PASS_MALFORMED);
	if (unlikely(!filter_has6(ip->dst)))
		return leave(p, PASS_NOT_SERVICE);
	return parse_ipv6_all(ctx, f, p);
}

/* conn_find for the longer key, which may still lie in the frame. */
static __always_inline struct conn *conn_find6(struct packet *p, const __be32 *addr, __u64 *life)
{
	__u32 index = hash_region(p->hash), first = hash_line(p->hash);
	struct region *r = bpf_map_lookup_elem(&regions, &index);
	struct conn *c;

	p->crowded = 0;
	if (!r)
		return NULL;
	c = &r->line[first];
	*life = READ_ONCE(c->life);
	if (likely(line_is6(c, addr, p->ports) && life_phase(*life) == PHASE_LIVE))
		return unlikely(due(p->tick, READ_ONCE(c->expires))) ? NULL : c;
	if (likely(life_phase(*life) == PHASE_EMPTY))
		return NULL;
	for (__u32 i = 1; i < REGION_LINES; i++) {
		c = &r->line[(first + i) & (REGION_LINES - 1)];
		*life = READ_ONCE(c->life);
		if (!line_is6(c, addr, p->ports) || life_phase(*life) != PHASE_LIVE) {
			if (unlikely(life_phase(*life) == PHASE_EMPTY))
				return NULL;
			continue;
		}
		return unlikely(due(p->tick, READ_ONCE(c->expires))) ? NULL : c;
	}
	p->crowded = 1;
	return NULL;
}

#endif
