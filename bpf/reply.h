/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * reply.h: masquerading on the way back. A packet from a NAT real server whose connection is known gets the virtual address
 * and port as its source, and goes to the client by the host's routes.
 *
 * The routing table is asked once a second for each connection, not for each packet: its answer stays in the connection's
 * line, which is in the cache already. Where it does not know the neighbour (nobody but us speaks to the client, so the host
 * may never have asked), or does not forward, the reply goes to whom the connection's first packet came from.
 */
#ifndef VIPD_REPLY_H
#define VIPD_REPLY_H

#include "conn.h"
#include "nat.h"

enum { AF_INET = 2, HOP_TICKS = 8 };

enum fib {                    /* what bpf_fib_lookup answers */
	FIB_FOUND = 0,
	FIB_NOT_FORWARDED = 4,   /* the address is the host's own, or no host's */
	FIB_DISABLED = 5,        /* forwarding is off */
	FIB_NO_NEIGHBOUR = 7,
};

static __always_inline __u64 hop_make(const __u8 *mac, __u32 ifindex)
{
	return load32(mac) | (__u64)load16(mac + 4) << 32 | (__u64)ifindex << 48;
}

static __always_inline __u32 hop_ifindex(__u64 hop)
{
	return hop >> 48;
}

static __always_inline __u64 *hop_of(struct conn *c)
{
	return (void *)&c->addr[SPARE_HOP];
}

/* Asks the routing table for the way to the client. 0: there is none. */
static __noinline __u64 hop_ask(struct xdp_md *ctx, struct conn *c, __u32 tick)
{
	__u64 hop = READ_ONCE(*hop_of(c));
	struct bpf_fib_lookup way = {
		.family = AF_INET,
		.l4_protocol = c->proto,
		.sport = c->vport,
		.dport = c->cport,
		.ifindex = ctx->ingress_ifindex,
		.src = { c->addr[1] },
		.dst = { c->addr[0] },
	};

	switch (bpf_fib_lookup(ctx, &way, sizeof(way), 0)) {
	case FIB_FOUND:
		/* The verifier wants loads of the stack aligned. */
		hop = load16(way.dmac) | (__u64)load16(way.dmac + 2) << 16 | (__u64)load16(way.dmac + 4) << 32 | (__u64)way.ifindex << 48;
		WRITE_ONCE(*hop_of(c), hop);
		WRITE_ONCE(c->addr[SPARE_HOP_MTU], way.length);
		break;
	case FIB_NOT_FORWARDED:
	case FIB_DISABLED:
	case FIB_NO_NEIGHBOUR:
		break;
	default:
		return 0;
	}
	WRITE_ONCE(c->addr[SPARE_HOP_TICK], tick | 1); /* never 0, which says that nobody asked */
	return hop;
}

/* The connection that a packet from `server` (its address), `ports` as they lie in the packet, is a reply of. */
static __always_inline struct conn *reply_find(struct packet *p, __be32 client, __be32 server, __be16 sport, __u64 *life)
{
	__u32 index = hash_region(p->hash), first = hash_line(p->hash);
	struct region *region = bpf_map_lookup_elem(&regions, &index);

	if (!region)
		return NULL;
	for (__u32 i = 0; i < REGION_LINES; i++) {
		struct conn *c = &region->line[(first + i) & (REGION_LINES - 1)];
		__u64 seen = READ_ONCE(c->life);
		struct real *r;

		if (life_phase(seen) == PHASE_EMPTY)
			return NULL;
		if (c->addr[0] != client || (conn_ports(c) & ~0xffff0000ull) != p->ports || life_phase(seen) != PHASE_LIVE)
			continue;
		p->real = READ_ONCE(c->real);
		r = real_at(p->real);
		if (!r || r->forward != FORWARD_MASQ || r->addr[0] != server || (r->port ? r->port : c->vport) != sport)
			continue;
		*life = seen;
		return due(p->tick, READ_ONCE(c->expires)) ? NULL : c;
	}
	return NULL;
}

/* What became of it: why, and the interface that it leaves by. */
struct way {
	enum reason why;
	__u32 ifindex;
	__u32 tci;               /* the tags that it is to have, as real.tci */
};

/* May it belong to a connection the other way? Only what the host would get. */
static __always_inline int looks_back(enum reason why, struct tunables *t)
{
	if (why == PASS_ICMP)
		return 1;
	return t->have & (HAVE_NAT | HAVE_TUNNEL) && (why == PASS_NOT_SERVICE || why == PASS_NO_CONNECTION);
}

/* The way to the client of a connection; 0: there is none. */
static __always_inline __u64 hop_to_client(struct xdp_md *ctx, struct conn *c, __u32 tick)
{
	__u32 asked = READ_ONCE(c->addr[SPARE_HOP_TICK]);

	if (unlikely(!asked || due(tick, asked + HOP_TICKS)))
		return hop_ask(ctx, c, tick);
	return READ_ONCE(*hop_of(c));
}

/* By the interface of that way, or the one that it stands on. */
static __always_inline void way_by(struct way *w, struct link *link, __u64 hop)
{
	w->ifindex = link->lower ? link->lower : hop_ifindex(hop);
}

/* Writes the link header's addresses for that way. */
static __always_inline enum step eth_to_client(struct eth *eth, __u64 hop, struct way *w)
{
	struct link *link = link_at(hop_ifindex(hop));

	w->why = DROP_NO_NEIGHBOUR;
	if (!hop || !link || !load32(link->mac + 2))
		return DONE;
	*(__u32 *)eth->dst = hop;
	*(__u16 *)(eth->dst + 4) = hop >> 32;
	__builtin_memcpy(eth->src, link->mac, 6);
	way_by(w, link, hop);
	w->tci = load32(link->tci);
	return NEXT;
}

static __always_inline void count_out(__u32 real, __u32 length)
{
	struct counters *n = counters_at(real);

	if (!n)
		return;
	n->outpkts++;
	n->outbytes += length;
}

/*
 * Leaves w alone if the packet is no reply, or if the host had better tell the real server what is wrong with it: a TTL that
 * is over, or a size that the way to the client does not carry.
 */
__noinline int reply(struct xdp_md *ctx, struct way *w, __u32 at)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end, *l4;
	struct eth *eth = data;
	struct ipv4 *ip;
	struct tunables *t = settings();
	struct packet p = {};
	struct conn *c;
	__u64 life, hop, change;
	__u32 *ports, mtu, header;
	__be32 virt;
	__be16 vport;

	if (at > MAX_LINK || !w || !t)
		return 0;
	forget_bounds(at);
	ip = data + (at & 31);
	if ((void *)(eth + 1) > end || (void *)(ip + 1) > end || !source_has(ip->src) || ip->frag & be16(IP_OFFSET))
		return 0;
	header = (ip->version_ihl & 15) * 4;
	p.length = be16(ip->length);
	l4 = (void *)ip + header;
	ports = l4;
	if (ip->proto == PROTO_TCP) {
		struct tcp *tcp = l4;

		if ((void *)(tcp + 1) > end)
			return 0;
		p.event = tcp_event(tcp->flags);
	} else if (ip->proto == PROTO_SCTP) {
		if (l4 + sizeof(struct sctp_packet) > end)
			return 0;
		p.event = sctp_event(ctx, l4 - data);
	} else if (ip->proto != PROTO_UDP || l4 + sizeof(struct udp) > end) {
		return 0;
	}
	p.ports = *ports >> 16 | (__u64)ip->proto << 32;
	p.tick = tick_now(t);
	p.hash = conn_hash(ip->dst, p.ports);
	c = reply_find(&p, ip->dst, ip->src, *ports, &life);
	if (!c || ip->ttl <= 1)
		return 0;
	virt = c->addr[1];
	vport = c->vport;
	hop = hop_to_client(ctx, c, p.tick);
	mtu = READ_ONCE(c->addr[SPARE_HOP_MTU]);
	if (unlikely(mtu && p.length > mtu)) {
		if (!(ip->frag & be16(IP_DF)))
			w->why = DROP_TOO_BIG;
		return 0;
	}
	if (!conn_move(c, &p, life, t, 1))
		return 0;
	if (ip->proto != PROTO_TCP)
		template_assure(c->control);
	count_out(p.real, p.length);
	if (eth_to_client(eth, hop, w) == DONE)
		return 0;
	ttl_less_one(ip);
	change = csum_change(ip->src, virt);
	ip->check = csum_mend(ip->check, change);
	ip->src = virt;
	w->why = DROP_NO_ROOM;
	if (!ports_write(l4, end, ip->proto, (*ports & 0xffff0000) | vport, change, p.length - header))
		return 0;
	w->why = FORWARD_REPLY;
	return 1;
}

#endif
