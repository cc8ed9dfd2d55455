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
#include "fragment.h"
#include "mss.h"
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

/* Are these the ends of a connection that masquerades to its real server? p has the client's address, then the server's. */
static __always_inline int reply_is(struct conn *c, struct packet *p, __be16 sport)
{
	int v6 = packet_v6(p);
	struct real *r;

	if ((conn_ports(c) & ~0xffff0000ull) != (p->ports & ~0xffff0000ull) || c->addr[0] != p->addr[0])
		return 0;
	if (v6 && !(same6(c->addr, p->addr)))
		return 0;
	r = real_at(READ_ONCE(c->real));
	if (!r || r->forward != FORWARD_MASQ || r->locals || (r->port ? r->port : c->vport) != sport)
		return 0;
	return v6 ? same6(r->addr, p->addr + 4) : r->addr[0] == p->addr[1];
}

/*
 * When the last packet came of the connection that has these ends, in ticks; a closed one loses to another of the same moment:
 * twice as fine as a tick for that. Above it, that it has these ends; 0: it has not. Global: verified once, not for each line.
 */
__noinline __u64 reply_heard(struct conn *c, struct packet *p, __u32 sport)
{
	struct tunables *t = settings();
	__u32 state;

	if (!c || !p || !reply_is(c, p, sport))
		return 0;
	state = life_state(READ_ONCE(c->life));
	return 1ull << 32 | (__u32)((READ_ONCE(c->expires) - timeout_of(t, c->proto, state)) * 2 + !state_reusable(c->proto, state));
}

/*
 * Number of the line that a packet from a real server's port belongs to, plus 1; 0: none. Two services may have sent the same
 * client's port to the same port of a real server, one after the other, which the packet does not tell apart: then it is the one
 * that was heard last. Global: verified once.
 */
__noinline __u32 reply_line(struct packet *p, __u32 sport)
{
	struct region *region;
	__u32 index, first, found = 0;
	__u64 heard = 0, is;

	if (!p)
		return 0;
	index = hash_region(p->hash);
	first = hash_line(p->hash);
	region = bpf_map_lookup_elem(&regions, &index);
	if (!region)
		return 0;
	for (__u32 i = 0; i < REGION_LINES; i++) {
		struct conn *c = &region->line[(first + i) & (REGION_LINES - 1)];
		__u64 seen = READ_ONCE(c->life);

		if (life_phase(seen) == PHASE_EMPTY)
			break;
		if (life_phase(seen) != PHASE_LIVE || c->addr[0] != p->addr[0])
			continue;
		is = reply_heard(c, p, sport);
		if (is && (!heard || (__s32)(is - heard) > 0)) {
			heard = is;
			found = index * REGION_LINES + ((first + i) & (REGION_LINES - 1)) + 1;
		}
	}
	return found;
}

/* The connection of a packet from the real server's port `sport`; its real server in p->real. p has the key but for vport. */
static __always_inline struct conn *reply_find(struct packet *p, __be16 sport, __u64 *life)
{
	__u32 line = reply_line(p, sport);
	struct conn *c = line ? conn_at(line - 1) : NULL;

	if (!c)
		return NULL;
	*life = READ_ONCE(c->life);
	p->real = READ_ONCE(c->real);
	if (life_phase(*life) != PHASE_LIVE || due(p->tick, READ_ONCE(c->expires)))
		return NULL;
	return c;
}

/* What became of it: why, and the interface that it leaves by. */
struct way {
	enum reason why;
	__u32 ifindex;
	__u32 tci;               /* the tags that it is to have, as real.tci */
};

/* May it belong to a connection the other way? Only what the host would get. */
static __always_inline int looks_back(enum reason why, struct tunables *t, int v6)
{
	if (why == PASS_ICMP)
		return 1;
	return t->have & (v6 ? HAVE_NAT6 | HAVE_TUNNEL6 : HAVE_NAT | HAVE_TUNNEL) && (why == PASS_NOT_SERVICE || why == PASS_NO_CONNECTION);
}

/* The same of a packet to no service's address, before another road is taken: a reply, or an error that may be about one. */
static __always_inline int comes_back(struct ipv4 *ip, struct tunables *t)
{
	if (ip->proto == PROTO_ICMP)
		return t->have & (HAVE_NAT | HAVE_TUNNEL);
	return t->have & HAVE_NAT && source_has(&ip->src);
}

static __always_inline int comes_back6(struct ipv6 *ip, struct tunables *t)
{
	if (ip->next == PROTO_ICMPV6)
		return t->have & (HAVE_NAT6 | HAVE_TUNNEL6);
	return t->have & HAVE_NAT6 && source_has6(ip->src);
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

static __always_inline struct fragment_key reply_key(struct ipv4 *ip)
{
	struct fragment_key k = { .id = ip->id, .proto = ip->proto };

	k.addr[0] = ip->src;
	k.addr[4] = ip->dst;
	return k;
}

/* A real server answers a SYN. */
static __always_inline void reply_mss(struct xdp_md *ctx, __u32 at, __u32 real)
{
	struct real *r = real_at(real);

	if (r && r->mss)
		mss_clamp(ctx, at, r->mss);
}

/* The others will go there too. ends: the virtual address, and the client's if that is not what the packet says. */
static __noinline void reply_first(struct ipv4 *ip, __u32 real, __u32 tick, __u64 hop, __u64 ends)
{
	struct fragment_key k = reply_key(ip);
	struct whence from = { .real = real, .tick = tick, .hop = hop, .virt = { ends }, .client = { ends >> 32 } };

	fragment_keep_reply(&k, &from);
}

/* A following fragment goes where the first one went. The transport checksum, which is in that one, has been mended. */
static __noinline int reply_rest(struct xdp_md *ctx, struct way *w, __u32 at, __u32 tick)
{
	struct eth *eth = (void *)(long)ctx->data;
	struct ipv4 *ip = (void *)eth + at;
	struct fragment_key k;
	struct fragment *first;
	void *end = (void *)(long)ctx->data_end;

	if (at > MAX_LINK || (void *)(eth + 1) > end || (void *)(ip + 1) > end)
		return 0;
	k = reply_key(ip);
	first = fragment_of_reply(&k, tick);
	if (!first || ip->ttl <= 1)
		return 0;
	count_out(first->real, be16(ip->length));
	if (eth_to_client(eth, first->hop, w) == DONE)
		return 1;
	ttl_less_one(ip);
	ip->check = csum_mend(ip->check, csum_change(ip->src, first->virt[0]));
	ip->src = first->virt[0];
	if (first->client[0]) {
		ip->check = csum_mend(ip->check, csum_change(ip->dst, first->client[0]));
		ip->dst = first->client[0];
	}
	w->why = FORWARD_REPLY;
	return 1;
}

/*
 * Leaves w alone if the packet is no reply, or if the host had better tell the real server what is wrong with it: a TTL that
 * is over, or a size that the way to the client does not carry.
 */
__noinline int reply(struct xdp_md *ctx, struct way *w, struct packet *p, __u32 at)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end, *l4;
	struct eth *eth = data;
	struct ipv4 *ip;
	struct tunables *t = settings();
	struct conn *c;
	__u64 life, hop, change;
	__u32 *ports, mtu, header;
	__be32 virt;
	__be16 vport;

	if (at > MAX_LINK || !w || !t || !p)
		return 0;
	forget_bounds(at);
	ip = data + (at & 31);
	if ((void *)(eth + 1) > end || (void *)(ip + 1) > end || !source_has(&ip->src))
		return 0;
	p->tick = tick_now(t);
	p->event = EVENT_NONE;
	if (unlikely(ip->frag & be16(IP_OFFSET)))
		return reply_rest(ctx, w, at & 31, p->tick);
	header = (ip->version_ihl & 15) * 4;
	p->length = be16(ip->length);
	l4 = (void *)ip + header;
	ports = l4;
	if (ip->proto == PROTO_TCP) {
		struct tcp *tcp = l4;

		if ((void *)(tcp + 1) > end)
			return 0;
		p->event = tcp_event(tcp->flags);
	} else if (ip->proto == PROTO_SCTP) {
		if (l4 + sizeof(struct sctp_packet) > end)
			return 0;
		p->event = sctp_event(ctx, l4 - data);
	} else if (ip->proto != PROTO_UDP || l4 + sizeof(struct udp) > end) {
		return 0;
	}
	p->ports = *ports >> 16 | (__u64)ip->proto << 32;
	p->hash = conn_hash(ip->dst, p->ports);
	p->addr[0] = ip->dst;
	p->addr[1] = ip->src;
	c = reply_find(p, *ports, &life);
	if (!c || ip->ttl <= 1)
		return 0;
	virt = c->addr[1];
	vport = c->vport;
	hop = hop_to_client(ctx, c, p->tick);
	mtu = READ_ONCE(c->addr[SPARE_HOP_MTU]);
	if (unlikely(mtu && p->length > mtu)) {
		if (!(ip->frag & be16(IP_DF)))
			w->why = DROP_TOO_BIG;
		return 0;
	}
	if (!conn_move(c, p, life, 1))
		return 0;
	if (ip->proto == PROTO_UDP)
		template_assure(c->control);
	count_out(p->real, p->length);
	if (unlikely(ip->frag & be16(IP_MF)))
		reply_first(ip, p->real, p->tick, hop, virt);
	if (eth_to_client(eth, hop, w) == DONE)
		return 0;
	ttl_less_one(ip);
	change = csum_change(ip->src, virt);
	ip->check = csum_mend(ip->check, change);
	ip->src = virt;
	w->why = DROP_NO_ROOM;
	if (!ports_write(l4, end, ip->proto, (*ports & 0xffff0000) | vport, change, p->length - header))
		return 0;
	w->why = FORWARD_REPLY;
	if (unlikely(p->event == EVENT_SYN && ip->proto == PROTO_TCP))
		reply_mss(ctx, l4 - data, p->real);
	return 1;
}

#endif
