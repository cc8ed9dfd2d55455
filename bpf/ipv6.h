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

/*
 * Behind the IPv6 header that begins `from` bytes into the frame.
 *
 * Every one of them begins with the next header and its own length, but for the fragment header, whose length is fixed. From
 * the lowest bits: length of all headers (16; 0: malformed), the transport's number (8), enum piece (8), its id (32). Global:
 * verified once, and not with each of what follows.
 */
__noinline __u64 skip_extensions(struct xdp_md *ctx, __u32 from)
{
	void *end = (void *)(long)ctx->data_end;
	__u32 at = sizeof(struct ipv6);
	__u64 piece = WHOLE, id = 0;
	struct ipv6 *ip;
	__u8 next;

	forget_bounds(from);
	ip = (void *)(long)ctx->data + (from & 1023);
	if ((void *)(ip + 1) > end)
		return 0;
	next = ip->next;
	for (int i = 0; i < EXTENSIONS && extension(next); i++) {
		__u8 *header = (void *)ip + (at & 1023);
		struct ipv6_fragment *f = (void *)header;

		if ((void *)(f + 1) > end || at > 512)
			return 0;
		if (next == NEXT_FRAGMENT && f->offset & be16(0xfff9)) {
			piece = f->offset & be16(0xfff8) ? LATER_FRAGMENT : FIRST_FRAGMENT;
			id = f->id;
		}
		if (next == NEXT_FRAGMENT)
			at += sizeof(*f);
		else
			at += next == NEXT_AUTH ? (header[1] + 2) * 4 : (header[1] + 1) * 8;
		next = header[0];
		if (piece == LATER_FRAGMENT)
			break;
	}
	if (at > 512 || (extension(next) && piece != LATER_FRAGMENT))
		return 0;
	return at | (__u64)next << 16 | piece << 24 | id << 32;
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
		f->header = skipped & 1023;
		f->piece = skipped >> 24 & 3;
		f->id = skipped >> 32;
		next = skipped >> 16;
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
	if (unlikely(!filter_has(fold6(ip->dst))))
		return leave(p, PASS_NOT_SERVICE);
	return parse_ipv6_all(ctx, f, p);
}

/* conn_find for the longer key, which may still lie in the frame. */
static __always_inline struct conn *conn_find6(struct packet *p, const __be32 *addr, __u64 *life)
{
	__u32 index = hash_region(p->hash), first = hash_line(p->hash);
	struct region *r = bpf_map_lookup_elem(&regions, &index);

	p->crowded = 0;
	if (!r)
		return NULL;
	for (__u32 i = 0; i < REGION_LINES; i++) {
		struct conn *c = &r->line[(first + i) & (REGION_LINES - 1)];
		__u64 seen = READ_ONCE(c->life);

		if (unlikely(life_phase(seen) == PHASE_EMPTY))
			return NULL;
		if (life_phase(seen) != PHASE_LIVE || !line_is6(c, addr, p->ports))
			continue;
		*life = seen;
		return unlikely(due(p->tick, READ_ONCE(c->expires))) ? NULL : c;
	}
	p->crowded = 1;
	return NULL;
}

#endif
