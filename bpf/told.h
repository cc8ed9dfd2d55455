/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * told.h: an error about a packet of one of our tunnels is none that the client could understand. It is told anew, of the
 * packet that it sent, with a size that leaves room for our headers; in its own family's words where the tunnel has another
 * family outside (RFC 7915 4.2, 5.2).
 */
#ifndef VIPD_TOLD_H
#define VIPD_TOLD_H

#include "icmp.h"
#include "reply6.h"
#include "vlan.h"

enum { ICMP_QUENCH = 4, ICMP_QUOTED = 8 }; /* bytes that are quoted of a transport header at least (RFC 792) */
enum { ICMP_PROTOCOL = 2, ICMP_HOST = 1, ICMP_PROHIBITED = 10 };
enum { ICMP6_PARAMETER = 4, ICMP6_NO_ROUTE = 0, ICMP6_PROHIBITED = 1, ICMP6_NEXT_HEADER = 1 };

static __always_inline int proto_has_ports(__u8 proto)
{
	return proto == PROTO_TCP || proto == PROTO_UDP || proto == PROTO_SCTP;
}

static __always_inline __u32 header_of(struct ipv4 *ip)
{
	return (ip->version_ihl & 15) * 4;
}

/* What was said of a packet of a tunnel: the error, and the outer addresses. Where the packet inside begins in the frame. */
struct told {
	__u32 inside;
	__u32 v6;                /* the tunnel has IPv6 outside: the error is ICMPv6 */
	__u32 type, code;
	__u32 mtu;
	__be32 dst[4], src[4];
};

/* What stands between an outer header and the packet inside; -1: no tunnel of ours. */
static __always_inline int tunnel_front_of(__u8 proto, __u32 first)
{
	if (proto == PROTO_IPIP || proto == PROTO_IPV6)
		return 0;
	if (proto == PROTO_UDP)
		return GUE_FRONT;
	if (proto != PROTO_GRE)
		return -1;
	return first & be16(GRE_CHECKSUM) ? sizeof(struct gre) + sizeof(struct gre_check) : sizeof(struct gre);
}

/* RFC 7915 4.2. Says whether there is such a word. */
static __always_inline int told_as6(struct told *t)
{
	__u32 code = t->code;

	t->v6 = 1;
	if (t->type == ICMP_TIME_EXCEEDED) {
		t->type = ICMP6_TIME_EXCEEDED;
		return 1;
	}
	if (t->type != ICMP_UNREACHABLE)
		return 0;
	t->type = ICMP6_UNREACHABLE;
	t->code = ICMP6_NO_ROUTE;
	if (code == ICMP_FRAG_NEEDED) {
		t->type = ICMP6_TOO_BIG;
	} else if (code == ICMP_PORT) {
		t->code = ICMP6_PORT;
	} else if (code == ICMP_PROTOCOL) { /* its pointer says where: the next header */
		t->type = ICMP6_PARAMETER;
		t->code = ICMP6_NEXT_HEADER;
		t->mtu = 6;
	} else if (code == 9 || code == 10 || code == 13) {
		t->code = ICMP6_PROHIBITED;
	}
	return 1;
}

/* RFC 7915 5.2. */
static __always_inline int told_as4(struct told *t)
{
	__u32 type = t->type, code = t->code;

	t->v6 = 0;
	t->type = ICMP_UNREACHABLE;
	t->code = ICMP_HOST;
	if (type == ICMP6_TIME_EXCEEDED) {
		t->type = ICMP_TIME_EXCEEDED;
		t->code = code;
	} else if (type == ICMP6_TOO_BIG) {
		t->code = ICMP_FRAG_NEEDED;
	} else if (type == ICMP6_PARAMETER) {
		if (code != ICMP6_NEXT_HEADER)
			return 0;
		t->code = ICMP_PROTOCOL;
	} else if (code == ICMP6_PORT) {
		t->code = ICMP_PORT;
	} else if (code == ICMP6_PROHIBITED) {
		t->code = ICMP_PROHIBITED;
	}
	return 1;
}

static __always_inline int says_too_big(struct told *t)
{
	return t->v6 ? t->type == ICMP6_TOO_BIG : t->type == ICMP_UNREACHABLE && t->code == ICMP_FRAG_NEEDED;
}

/* The room that is left of a size. RFC 1191 5: an old router says none. */
static __always_inline __u32 told_room(struct told *t, struct real *r)
{
	__u32 more = outer_header(r) + tunnel_front(r);

	if (t->mtu <= more)
		t->mtu = r->mtu;
	return t->mtu > more ? t->mtu - more : 0;
}

/* Is it the tunnel to this real server, between these addresses? */
static __always_inline int told_of(struct told *t, struct real *r)
{
	if (r->forward != FORWARD_TUNNEL || !(r->flags & REAL_IPV6) != !t->v6)
		return 0;
	if (!t->v6)
		return r->addr[0] == t->dst[0] && r->source[0] == t->src[0];
	return same6(r->addr, t->dst) && same6(r->source, t->src);
}

/* The connection of the packet inside, and its family. */
static __always_inline struct conn *told_conn(struct xdp_md *ctx, struct packet *p, __u32 inside, int *v6)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct frame f = {};
	__u32 *ports;
	__u64 life;

	frame_at(ctx, &f, inside);
	if ((void *)(f.ip + 1) > end)
		return NULL;
	*v6 = f.ip->version_ihl >> 4 == 6;
	if (*v6) {
		if ((void *)(f.ip6 + 1) > end || parse_ipv6_all(ctx, &f, p) == DONE || f.piece == LATER_FRAGMENT)
			return NULL;
	} else {
		if (f.ip->version_ihl >> 4 != 4 || f.ip->frag & be16(IP_OFFSET))
			return NULL;
		f.header = header_of(f.ip);
		p->ports = (__u64)f.ip->proto << 32;
		p->addr[0] = f.ip->src;
		p->addr[1] = f.ip->dst;
	}
	ports = data + inside + (f.header & 1023);
	forget_bounds(ports);
	if ((void *)ports + ICMP_QUOTED > end || !proto_has_ports(packet_proto(p)))
		return NULL;
	p->ports |= *ports;
	p->hash = key_hash(p->addr, p->ports);
	return conn_look(p, &life);
}

/* Cuts away what stands in front of the packet inside, and turns to the client. */
static __always_inline enum step told_cut(struct xdp_md *ctx, __u32 inside, __u64 hop, int v6, struct way *w, __u32 *tci)
{
	struct link *link = link_at(hop_ifindex(hop));
	struct eth *eth;

	w->why = DROP_NO_NEIGHBOUR;
	if (!hop || !link || !load32(link->mac + 2))
		return DONE;
	w->why = DROP_NO_ROOM;
	if (bpf_xdp_adjust_head(ctx, inside - sizeof(*eth)))
		return DONE;
	eth = (void *)(long)ctx->data;
	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return DONE;
	/* As if it came from there: tell turns it round. */
	*(__u32 *)eth->src = hop;
	*(__u16 *)(eth->src + 4) = hop >> 32;
	__builtin_memcpy(eth->dst, link->mac, 6);
	eth->type = v6 ? be16(ETH_IPV6) : be16(ETH_IPV4);
	way_by(w, link, hop);
	*tci = load32(link->tci);
	return NEXT;
}

__noinline int tunnel_tell(struct xdp_md *ctx, struct way *w, struct told *told)
{
	struct tunables *t = settings();
	__u32 zero = 0, inside, too_big, tci = 0;
	struct packet *p = bpf_map_lookup_elem(&packets, &zero);
	struct client *client;
	struct real *r;
	struct conn *c;
	enum step s;
	__u64 hop;
	int v6 = 0;

	if (!w || !t || !p || !told || told->inside < sizeof(struct eth) || told->inside > 512)
		return 0;
	inside = told->inside;
	forget_bounds(inside);
	inside &= 1023;
	p->tick = tick_now(t);
	c = told_conn(ctx, p, inside, &v6);
	r = c ? real_at(READ_ONCE(c->real)) : NULL;
	if (!r || !told_of(told, r))
		return 0;
	too_big = says_too_big(told);
	w->why = DROP_ICMP;
	if ((__u32)v6 != told->v6 && !(v6 ? told_as6(told) : told_as4(told)))
		return 1;
	if (too_big)
		told->mtu = told_room(told, r);
	else if (!(v6 && told->type == ICMP6_PARAMETER))
		told->mtu = 0;
	client = v6 ? client_of(ctx, c, p->tick) : NULL;
	hop = v6 ? client ? client->hop : 0 : hop_to_client(ctx, c, p->tick);
	if (told_cut(ctx, inside, hop, v6, w, &tci) == DONE)
		return 1;
	s = v6 ? tell6(ctx, sizeof(struct eth), told->type, told->code, told->mtu) : tell(ctx, sizeof(struct eth), told->type, told->code, told->mtu);
	if (s == NEXT && (!tci || relink(ctx, sizeof(struct eth), tci) == NEXT))
		w->why = FORWARD_ICMP;
	return 1;
}

#endif
