/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * related.h: ICMP errors that belong to a connection, as IPVS follows them: unreachable, source quench, time exceeded.
 *
 *  - about a reply, to the virtual address: on to the real server that sent it;
 *  - about a request to a NAT real server, to the client that we made its sender: on to the client;
 *  - about a packet of a tunnel, to us: told anew to the client, about the packet inside.
 *
 * Each goes to whom the quoted packet is from; an error that is sent elsewhere is none of ours. The quoted transport header
 * keeps its checksum, as with IPVS: of a quote it can seldom be told anyway.
 */
#ifndef VIPD_RELATED_H
#define VIPD_RELATED_H

#include "icmp.h"
#include "reply.h"
#include "transmit.h"

enum { ICMP_QUENCH = 4, ICMP_QUOTED = 8 }; /* bytes that are quoted of a transport header at least (RFC 792) */

/* An error, taken apart. Pointers into the frame, checked as far as these headers go. */
struct error {
	struct eth *eth;
	struct ipv4 *ip;
	struct icmp *icmp;
	struct ipv4 *in;         /* the packet that it is about */
	__u32 *ports;            /* of that packet */
};

static __always_inline int proto_has_ports(__u8 proto)
{
	return proto == PROTO_TCP || proto == PROTO_UDP || proto == PROTO_SCTP;
}

static __always_inline __u32 header_of(struct ipv4 *ip)
{
	return (ip->version_ihl & 15) * 4;
}

/* Says whether it is an error whose quote can be read. */
static __always_inline int error_parse(struct xdp_md *ctx, __u32 at, struct error *e)
{
	void *end = (void *)(long)ctx->data_end;

	e->eth = (void *)(long)ctx->data;
	e->ip = (void *)e->eth + (at & 31);
	forget_bounds(e->eth); /* clang would see that the second of these holds the first, which the verifier does not */
	if ((void *)(e->eth + 1) > end || (void *)(e->ip + 1) > end)
		return 0;
	if (e->ip->proto != PROTO_ICMP || e->ip->frag & be16(IP_OFFSET | IP_MF))
		return 0;
	e->icmp = (void *)e->ip + header_of(e->ip);
	e->in = (void *)(e->icmp + 1);
	if ((void *)(e->in + 1) > end)
		return 0;
	if (e->icmp->type != ICMP_UNREACHABLE && e->icmp->type != ICMP_QUENCH && e->icmp->type != ICMP_TIME_EXCEEDED)
		return 0;
	if (e->in->version_ihl >> 4 != 4 || e->in->frag & be16(IP_OFFSET) || e->ip->dst != e->in->src)
		return 0;
	e->ports = (void *)e->in + header_of(e->in);
	return (void *)e->ports + ICMP_QUOTED <= end;
}

/*
 * The quoted packet's ports become others, and an address of its. Its header's checksum takes that in, so that the ICMP
 * checksum, which covers both, has only the ports to take in.
 */
static __always_inline void error_rewrite(struct error *e, __be32 *addr, __be32 to, __u32 ports)
{
	__u64 change = csum_change(*addr, to);

	e->in->check = csum_mend(e->in->check, change);
	*addr = to;
	e->icmp->check = csum_mend(e->icmp->check, csum_change(*e->ports, ports));
	*e->ports = ports;
}

static __always_inline void outer_rewrite(struct ipv4 *ip, __be32 *addr, __be32 to)
{
	ip->check = csum_mend(ip->check, csum_change(*addr, to));
	*addr = to;
}

/* On to a real server, by its method. */
__noinline int related_to_server(struct xdp_md *ctx, struct way *w, __u32 at, __u32 tci)
{
	struct tunables *t = settings();
	struct packet p = {};
	struct frame f = {};
	struct error e;
	struct real *r;
	__u64 life;
	struct conn *c;

	if (!w || !t || at > MAX_LINK)
		return 0;
	forget_bounds(at);
	if (!error_parse(ctx, at, &e) || !proto_has_ports(e.in->proto))
		return 0;
	p.tick = tick_now(t);
	p.ends = e.in->dst | (__u64)e.in->src << 32;
	p.ports = *e.ports >> 16 | (*e.ports & 0xffff) << 16 | (__u64)e.in->proto << 32;
	p.hash = conn_hash(e.in->dst, p.ports);
	p.length = be16(e.ip->length);
	c = conn_find(&p, &life);
	if (!c)
		return 0;
	p.real = READ_ONCE(c->real);
	r = real_at(p.real);
	p.why = FORWARD_ICMP;
	if (!r || r->flags & REAL_GONE) {
		w->why = DROP_REAL_GONE;
		return 1;
	}
	count_in(&p);
	w->ifindex = r->ifindex;
	if (r->forward == FORWARD_MASQ) {
		if (depart(e.ip, r, &p, 0) == NEXT) {
			outer_rewrite(e.ip, &e.ip->dst, r->addr[0]);
			error_rewrite(&e, &e.in->src, r->addr[0], r->port ? (*e.ports & 0xffff0000) | r->port : *e.ports);
			eth_write(e.eth, r);
			if (unlikely(tci != load32(r->tci)) && relink(ctx, at, load32(r->tci)) == DONE)
				p.why = DROP_NO_ROOM;
		}
	} else {
		f = (struct frame){ .at = at, .tci = tci, .eth = e.eth, .ip = e.ip, .end = (void *)(long)ctx->data_end };
		transmit(ctx, &f, r, &p, 0);
	}
	w->why = answers(p.why) ? DROP_ICMP : p.why;
	return 1;
}

/* About a request, from a NAT real server or somebody on the way there: on to the client, from the virtual address. */
__noinline int related_to_client(struct xdp_md *ctx, struct way *w, __u32 at)
{
	struct tunables *t = settings();
	struct packet p = {};
	struct error e;
	struct conn *c;
	__be32 virt;
	__be16 vport;
	__u64 life;

	if (!w || !t || at > MAX_LINK)
		return 0;
	forget_bounds(at);
	if (!error_parse(ctx, at, &e) || !proto_has_ports(e.in->proto) || e.ip->ttl <= 1)
		return 0;
	p.tick = tick_now(t);
	p.ports = (*e.ports & 0xffff) | (__u64)e.in->proto << 32;
	p.hash = conn_hash(e.in->src, p.ports);
	c = reply_find(&p, e.in->src, e.in->dst, *e.ports >> 16, &life);
	if (!c)
		return 0;
	virt = c->addr[1];
	vport = c->vport;
	count_out(p.real, be16(e.ip->length));
	if (eth_to_client(e.eth, hop_to_client(ctx, c, p.tick), w) == DONE)
		return 1;
	ttl_less_one(e.ip);
	outer_rewrite(e.ip, &e.ip->src, virt);
	error_rewrite(&e, &e.in->dst, virt, (*e.ports & 0xffff) | (__u32)vport << 16);
	w->why = FORWARD_ICMP;
	return 1;
}

/* What stands between the quoted outer header and the packet inside; -1: no tunnel of ours. */
static __always_inline int tunnel_skip(struct ipv4 *in, __u32 first)
{
	if (in->proto == PROTO_IPIP)
		return 0;
	if (in->proto == PROTO_UDP)
		return GUE_FRONT;
	if (in->proto != PROTO_GRE)
		return -1;
	return first & be16(GRE_CHECKSUM) ? sizeof(struct gre) + sizeof(struct gre_check) : sizeof(struct gre);
}

/* About a packet of a tunnel: the client is told, of the packet that it sent, and a size that leaves room for our headers. */
__noinline int related_to_tunnel(struct xdp_md *ctx, struct way *w, __u32 at)
{
	struct tunables *t = settings();
	__u32 *ports, type, code, rest, cut, tci;
	struct packet p = {};
	struct ipv4 *inside;
	struct error e;
	struct link *link;
	struct real *r;
	struct eth *eth;
	struct conn *c;
	__u64 life, hop;
	void *end;
	int skip;

	if (!w || !t || at > MAX_LINK)
		return 0;
	forget_bounds(at);
	end = (void *)(long)ctx->data_end;
	if (!error_parse(ctx, at, &e))
		return 0;
	skip = tunnel_skip(e.in, *e.ports);
	if (skip < 0 || skip > GUE_FRONT)
		return 0;
	inside = (void *)e.ports + skip;
	if ((void *)(inside + 1) > end || inside->version_ihl >> 4 != 4 || inside->frag & be16(IP_OFFSET))
		return 0;
	ports = (void *)inside + header_of(inside);
	if ((void *)ports + ICMP_QUOTED > end || !proto_has_ports(inside->proto))
		return 0;
	p.tick = tick_now(t);
	p.ends = inside->src | (__u64)inside->dst << 32;
	p.ports = *ports | (__u64)inside->proto << 32;
	p.hash = conn_hash(inside->src, p.ports);
	c = conn_find(&p, &life);
	r = c ? real_at(READ_ONCE(c->real)) : NULL;
	if (!r || r->forward != FORWARD_TUNNEL || r->addr[0] != e.in->dst || r->source[0] != e.in->src)
		return 0;
	type = e.icmp->type;
	code = e.icmp->code;
	rest = 0;
	if (type == ICMP_UNREACHABLE && code == ICMP_FRAG_NEEDED) {
		rest = be32(e.icmp->rest) & 0xffff;
		if (rest <= sizeof(struct ipv4) + skip) /* RFC 1191 5: from an old router */
			rest = r->mtu;
		rest -= sizeof(struct ipv4) + skip;
	}
	cut = at + header_of(e.ip) + sizeof(*e.icmp) + header_of(e.in) + skip - sizeof(*eth);
	hop = hop_to_client(ctx, c, p.tick);
	w->why = DROP_NO_NEIGHBOUR;
	link = link_at(hop_ifindex(hop));
	if (!hop || !link || !load32(link->mac + 2))
		return 1;
	w->why = DROP_NO_ROOM;
	if (bpf_xdp_adjust_head(ctx, cut))
		return 1;
	eth = (void *)(long)ctx->data;
	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return 1;
	/* As if it came from there: tell turns it round. */
	*(__u32 *)eth->src = hop;
	*(__u16 *)(eth->src + 4) = hop >> 32;
	__builtin_memcpy(eth->dst, link->mac, 6);
	eth->type = be16(ETH_IPV4);
	way_by(w, link, hop);
	tci = load32(link->tci);
	if (tell(ctx, sizeof(*eth), type, code, rest) == NEXT && (!tci || relink(ctx, sizeof(*eth), tci) == NEXT))
		w->why = FORWARD_ICMP;
	return 1;
}

#endif
