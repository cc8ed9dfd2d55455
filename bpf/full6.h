/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * full6.h: FULLNAT of IPv6. As fullnat.h, but a connection's line has no room for its local end, which is found anew for each
 * packet: by the line for its replies, at one of LOCAL_TRIES places that its client's hash says (local_get).
 */
#ifndef VIPD_FULL6_H
#define VIPD_FULL6_H

#include "fullnat.h"
#include "reply6.h"

/* Both ends become others. What that does to the sum of the pseudo header. */
static __always_inline __u64 ends_write6(struct ipv6 *ip, const __be32 *src, const __be32 *dst)
{
	__u64 change = csum_change6(ip->src, src) + csum_change6(ip->dst, dst);

	__builtin_memcpy(ip->src, src, sizeof(ip->src));
	__builtin_memcpy(ip->dst, dst, sizeof(ip->dst));
	return change;
}

/* A following fragment goes where the first one went. */
static __always_inline enum reason full_rest6(struct frame *f, struct packet *p, struct real *r)
{
	struct fragment_key k = fragment_key_of(f, p);
	struct fragment *first = bpf_map_lookup_elem(&fragments, &k);

	if (!first || !(first->virt[0] | first->virt[1] | first->virt[2] | first->virt[3]))
		return DROP_NO_LOCAL;
	ends_write6(f->ip6, first->virt, r->addr);
	return p->why;
}

static __always_inline void local_keep6(struct frame *f, struct packet *p, const __be32 *local)
{
	struct fragment_key k = fragment_key_of(f, p);
	struct fragment *first = bpf_map_lookup_elem(&fragments, &k);

	if (first)
		__builtin_memcpy(first->virt, local, sizeof(first->virt));
}

static __always_inline enum reason full_whole6(struct xdp_md *ctx, struct frame *f, struct packet *p, struct real *r)
{
	struct key *end = full_end(ctx, f, p);
	void *l4 = (void *)f->ip6 + f->header;
	__u64 change;

	if (!end)
		return DROP_NO_LOCAL;
	forget_bounds(l4);
	if (f->piece == FIRST_FRAGMENT)
		local_keep6(f, p, end->addr);
	change = ends_write6(f->ip6, end->addr, r->addr);
	return ports_write(l4, f->end, packet_proto(p), end->ports, change, p->length - f->header) ? p->why : DROP_NO_ROOM;
}

/* A client's packet, which has been decided and counted: to its real server, from a local address. */
__noinline int full_request6(struct xdp_md *ctx, struct packet *p, struct way *w, __u64 tags)
{
	struct frame f = {};
	__u32 tci = tags >> 32;
	struct real *r;
	__u64 skipped;

	if (!p || !w || frame_behind(ctx, &f, tags & 0xff) || (void *)(f.ip6 + 1) > f.end || (void *)(f.eth + 1) > f.end)
		return DROP_NO_ROOM;
	skipped = skip_extensions(ctx, f.at);
	r = real_at(p->real);
	if (!r || !skipped)
		return DROP_REAL_GONE;
	f.header = skipped_to(skipped);
	f.piece = skipped_piece(skipped);
	f.id = skipped >> 32;
	f.tci = tci;
	if (depart6(f.ip6, r, p, 0) == DONE)
		return f.piece == LATER_FRAGMENT ? untold(p->why, 1) : p->why;
	w->ifindex = r->ifindex;
	p->why = f.piece == LATER_FRAGMENT ? full_rest6(&f, p, r) : full_whole6(ctx, &f, p, r);
	if (!forwards(p->why))
		return p->why;
	eth_write(f.eth, r);
	if (unlikely(r->flags & REAL_PROXY && f.piece != LATER_FRAGMENT))
		p->why = proxy_request(ctx, p, f.at, f.at + f.header, r->mtu);
	if (forwards(p->why) && unlikely(tci != load32(r->tci)) && relink(ctx, tags & 31, load32(r->tci)) == DONE)
		return DROP_NO_ROOM;
	return p->why;
}

/* p, which is a packet from a real server, gets the key of its return line. */
static __always_inline void full_key6(struct packet *p)
{
	p->ports = (p->ports & ~0xffffffffull) | (p->ports & 0xffff) << 16 | (p->ports >> 16 & 0xffff) | (__u64)KIND_RETURN << 40;
	ends_swap6(p);
	p->hash = conn_hash6(p->addr, p->ports);
}

/* Its following fragments go to the client too, by what the first one became. */
static __noinline void full_first6(struct fragment_key *k, struct packet *p, struct conn *c, struct client *client)
{
	struct whence from = { .real = p->real, .tick = p->tick, .hop = client->hop };

	__builtin_memcpy(from.virt, c->addr + 4, sizeof(from.virt));
	__builtin_memcpy(from.client, c->addr, sizeof(from.client));
	fragment_keep_reply(k, &from);
}

/* A packet from a real server to a local address: to the client, from the virtual address. See reply6. */
__noinline int full_reply6(struct xdp_md *ctx, struct way *w, struct packet *p, __u32 at)
{
	struct tunables *t = settings();
	struct fragment_key k = {};
	struct client *client;
	struct frame f = {};
	__u64 life, change;
	struct conn *c;
	void *l4;

	if (at > MAX_LINK || !w || !p || !t)
		return 0;
	forget_bounds(at);
	frame_at(ctx, &f, at & 31);
	if ((void *)(f.eth + 1) > f.end || (void *)(f.ip6 + 1) > f.end || (f.ip6->version_class_flow & 0xf0) != 0x60)
		return 0;
	if (!source_has6(f.ip6->src) || parse_ipv6_all(ctx, &f, p) == DONE || f.piece == LATER_FRAGMENT)
		return 0; /* reply6 has what it became */
	p->event = 0;
	p->tick = tick_now(t);
	if (parse_transport(ctx, &f, p) == DONE)
		return 0;
	if (f.piece == FIRST_FRAGMENT)
		k = fragment_key_of(&f, p);
	full_key6(p);
	c = full_find(p, &life);
	if (!c)
		full_stranger(w, p, t, source_has6(p->addr));
	if (!c || f.ip6->hop_limit <= 1)
		return 0;
	client = client_of(ctx, c, p->tick);
	if (unlikely(client && client->mtu && p->length > client->mtu))
		return 0;
	if (!conn_move(c, p, life, 1))
		return 0;
	if (packet_proto(p) == PROTO_UDP)
		template_assure(c->control);
	count_out(p->real, p->length);
	if (f.piece == FIRST_FRAGMENT && client)
		full_first6(&k, p, c, client);
	if (eth_to_client(f.eth, client ? client->hop : 0, w) == DONE)
		return 1;
	f.ip6->hop_limit--;
	change = ends_write6(f.ip6, c->addr + 4, c->addr);
	w->why = DROP_NO_ROOM;
	l4 = (void *)f.ip6 + f.header;
	forget_bounds(l4);
	if (!ports_write(l4, f.end, packet_proto(p), c->vport | (__u32)c->cport << 16, change, p->length - f.header))
		return 1;
	w->why = FORWARD_REPLY;
	if (packet_proto(p) == PROTO_TCP)
		full_answered(ctx, p, f.at + f.header);
	return 1;
}

#endif
