/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * reply6.h: masquerading on the way back, of IPv6. As reply.h, but the way to the client stands by the client's address, as
 * the lines of IPv6 have no words to spare.
 */
#ifndef VIPD_REPLY6_H
#define VIPD_REPLY6_H

#include "ipv6.h"
#include "reply.h"

enum { AF_INET6 = 10 };

/* Asks the routing table for the way to the client. NULL: there is none. */
static __noinline struct client *client_ask(struct xdp_md *ctx, struct conn *c, struct client *known, __u32 tick)
{
	struct client_key k;
	struct client value = { .tick = tick | 1 };
	struct bpf_fib_lookup way = {
		.family = AF_INET6,
		.l4_protocol = c->proto,
		.sport = c->vport,
		.dport = c->cport,
		.ifindex = ctx->ingress_ifindex,
	};

	__builtin_memcpy(way.src, c->addr + 4, sizeof(way.src));
	__builtin_memcpy(way.dst, c->addr, sizeof(way.dst));
	__builtin_memcpy(k.addr, c->addr, sizeof(k.addr));
	switch (bpf_fib_lookup(ctx, &way, sizeof(way), 0)) {
	case FIB_FOUND:
		value.hop = load16(way.dmac) | (__u64)load16(way.dmac + 2) << 16 | (__u64)load16(way.dmac + 4) << 32 |
			    (__u64)way.ifindex << 48;
		value.mtu = way.length;
		break;
	case FIB_NOT_FORWARDED:
	case FIB_DISABLED:
	case FIB_NO_NEIGHBOUR:
		if (!known)
			return NULL;
		value.hop = known->hop;
		value.mtu = known->mtu;
		break;
	default:
		return NULL;
	}
	bpf_map_update_elem(&clients6, &k, &value, 0);
	return bpf_map_lookup_elem(&clients6, &k);
}

static __always_inline struct client *client_of(struct xdp_md *ctx, struct conn *c, __u32 tick)
{
	struct client_key k;
	struct client *known;

	__builtin_memcpy(k.addr, c->addr, sizeof(k.addr));
	known = bpf_map_lookup_elem(&clients6, &k);
	if (unlikely(!known || !known->tick || due(tick, known->tick + HOP_TICKS)))
		return client_ask(ctx, c, known, tick);
	return known;
}

/* From the real server to a client: the link header, the hop limit and the source. What the source's change does to sums. */
static __always_inline enum step turn6(struct eth *eth, struct ipv6 *ip, const __be32 *virt, __u64 hop, struct way *w, __u64 *change)
{
	if (eth_to_client(eth, hop, w) == DONE)
		return DONE;
	ip->hop_limit--;
	*change = csum_change6(ip->src, virt);
	__builtin_memcpy(ip->src, virt, sizeof(ip->src));
	return NEXT;
}

/* A following fragment goes where the first one went. */
static __always_inline int reply_rest6(struct frame *f, struct packet *p, struct way *w)
{
	struct fragment_key k = fragment_key_of(f, p);
	struct fragment *first = fragment_of_reply(&k, p->tick);
	__u64 change;

	if (!first || f->ip6->hop_limit <= 1)
		return 0;
	count_out(first->real, p->length);
	if (turn6(f->eth, f->ip6, first->virt, first->hop, w, &change) == DONE)
		return 1;
	if (first->client[0] | first->client[1] | first->client[2] | first->client[3])
		__builtin_memcpy(f->ip6->dst, first->client, sizeof(f->ip6->dst));
	w->why = FORWARD_REPLY;
	return 1;
}

static __always_inline void ends_swap6(struct packet *p)
{
	for (int i = 0; i < 4; i++) {
		__be32 one = p->addr[i];

		p->addr[i] = p->addr[i + 4];
		p->addr[i + 4] = one;
	}
}

/* See reply. */
__noinline int reply6(struct xdp_md *ctx, struct way *w, struct packet *p, __u32 at)
{
	struct tunables *t = settings();
	struct fragment_key k = {};
	struct client *client;
	struct frame f = {};
	__u64 life, change;
	struct conn *c;
	__be16 sport;
	void *l4;

	if (at > MAX_LINK || !w || !p || !t)
		return 0;
	forget_bounds(at);
	frame_at(ctx, &f, at & 31);
	if ((void *)(f.eth + 1) > f.end || (void *)(f.ip6 + 1) > f.end || (f.ip6->version_class_flow & 0xf0) != 0x60)
		return 0;
	if (!source_has6(f.ip6->src) || parse_ipv6_all(ctx, &f, p) == DONE)
		return 0;
	p->event = 0;
	p->tick = tick_now(t);
	if (f.piece == LATER_FRAGMENT)
		return reply_rest6(&f, p, w);
	if (parse_transport(ctx, &f, p) == DONE)
		return 0;
	sport = p->ports;
	p->ports = (p->ports & ~0xffffffffull) | (p->ports >> 16 & 0xffff);
	if (f.piece == FIRST_FRAGMENT)
		k = fragment_key_of(&f, p);
	ends_swap6(p);
	p->hash = conn_hash6(p->addr, p->ports);
	c = reply_find(p, sport, &life);
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
	if (f.piece == FIRST_FRAGMENT && client) {
		struct whence from = { .real = p->real, .tick = p->tick, .hop = client->hop };

		__builtin_memcpy(from.virt, c->addr + 4, sizeof(from.virt));
		fragment_keep_reply(&k, &from);
	}
	if (turn6(f.eth, f.ip6, c->addr + 4, client ? client->hop : 0, w, &change) == DONE)
		return 0;
	w->why = DROP_NO_ROOM;
	l4 = (void *)f.ip6 + f.header;
	forget_bounds(l4);
	if (!ports_write(l4, f.end, packet_proto(p), c->vport | (__u32)c->cport << 16, change, p->length - f.header))
		return 0;
	w->why = FORWARD_REPLY;
	if (unlikely(p->event == EVENT_SYN && packet_proto(p) == PROTO_TCP))
		reply_mss(ctx, f.at + f.header, p->real);
	return 1;
}

#endif
