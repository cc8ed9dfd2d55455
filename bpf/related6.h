/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * related6.h: ICMPv6 errors that belong to a connection, all of RFC 4443's: unreachable, too big, time exceeded, parameter
 * problem. Where they go and what changes in them is as related.h has it; the checksum has a pseudo header here, and the
 * quoted header has none.
 */
#ifndef VIPD_RELATED6_H
#define VIPD_RELATED6_H

#include "full6.h"
#include "ipv6.h"
#include "related.h"

/* Where the parts of an error begin in the frame; `proto` is that of the quoted packet. */
struct error6 {
	__u32 icmp, in, ports, proto;
};

/* An error, taken apart. Pointers into the frame, checked as far as these headers go. */
struct parts6 {
	struct eth *eth;
	struct ipv6 *ip;
	struct icmp *icmp;
	struct ipv6 *in;
	__u32 *ports;
};

/* Says whether it is an error whose quote can be read. Global: verified once. */
__noinline int error_parse6(struct xdp_md *ctx, struct error6 *e, __u32 at)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ipv6 *ip, *in;
	struct icmp *icmp;
	__u64 skipped;

	if (!e || at > MAX_LINK)
		return 0;
	forget_bounds(at);
	ip = data + (at & 31);
	if ((void *)(ip + 1) > end)
		return 0;
	skipped = skip_extensions(ctx, at);
	if (!skipped || skipped_next(skipped) != PROTO_ICMPV6 || skipped_piece(skipped) != WHOLE)
		return 0;
	e->icmp = (at & 31) + skipped_to(skipped);
	e->in = e->icmp + sizeof(*icmp);
	icmp = data + (e->icmp & 2047);
	in = data + (e->in & 2047);
	if ((void *)(icmp + 1) > end || (void *)(in + 1) > end)
		return 0;
	if (icmp->type < ICMP6_UNREACHABLE || icmp->type > ICMP6_PARAMETER || !same6(ip->dst, in->src) || e->in > 1023)
		return 0;
	if ((in->version_class_flow & 0xf0) != 0x60)
		return 0;
	skipped = skip_extensions(ctx, e->in);
	if (!skipped || skipped_piece(skipped) == LATER_FRAGMENT)
		return 0;
	e->ports = e->in + skipped_to(skipped);
	e->proto = skipped_next(skipped);
	return data + (e->ports & 2047) + ICMP_QUOTED <= end;
}

static __always_inline int error_parts6(struct xdp_md *ctx, struct error6 *e, __u32 at, struct parts6 *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	p->eth = data;
	p->ip = data + (at & 31);
	p->icmp = data + (e->icmp & 2047);
	p->in = data + (e->in & 2047);
	p->ports = data + (e->ports & 2047);
	forget_bounds(p->eth); /* clang would see which of these holds the others, which the verifier does not */
	forget_bounds(p->icmp);
	forget_bounds(p->in);
	forget_bounds(p->ports);
	return (void *)(p->eth + 1) <= end && (void *)(p->ip + 1) <= end && (void *)(p->icmp + 1) <= end &&
	       (void *)(p->in + 1) <= end && (void *)p->ports + ICMP_QUOTED <= end;
}

/* An address of the error's own header and one of the quoted packet's become others, and that one's ports. */
static __always_inline void error_rewrite6(struct parts6 *e, __be32 *outer, __be32 *inner, const __be32 *to, __u32 ports)
{
	__u64 change = csum_change6(outer, to) + csum_change6(inner, to) + csum_change(*e->ports, ports);

	e->icmp->check = csum_mend(e->icmp->check, change);
	__builtin_memcpy(outer, to, 16);
	__builtin_memcpy(inner, to, 16);
	*e->ports = ports;
}

/* The quoted packet was sent to the connection's local end, for the client that it says. */
static __always_inline void error_to_local6(struct parts6 *e, struct packet *p)
{
	struct key *end = full_end(NULL, NULL, p);
	__u32 ports = *e->ports;

	if (!end)
		return;
	ports = (ports & 0xffff) | (__u32)(end->ports & 0xffff) << 16;
	e->icmp->check = csum_mend(e->icmp->check, csum_change6(e->in->dst, end->addr) + csum_change(*e->ports, ports));
	__builtin_memcpy(e->in->dst, end->addr, sizeof(e->in->dst));
	*e->ports = ports;
}

/* On to a real server, by its method. */
__noinline int related_to_server6(struct xdp_md *ctx, struct way *w, struct packet *p, struct error6 *at, __u64 tags)
{
	struct tunables *t = settings();
	__u32 tci = tags >> 32;
	struct frame f = {};
	struct parts6 e;
	struct real *r;
	struct conn *c;
	__u64 life;

	if (!w || !t || !p || !at)
		return 0;
	forget_bounds(tags);
	if (!error_parts6(ctx, at, tags, &e) || !proto_has_ports(at->proto))
		return 0;
	p->tick = tick_now(t);
	p->hop = 0;
	__builtin_memcpy(p->addr, e.in->dst, sizeof(e.in->dst));
	__builtin_memcpy(p->addr + 4, e.in->src, sizeof(e.in->src));
	p->ports = (__u64)KIND_IPV6 << 40 | (__u64)(at->proto & 0xff) << 32 | *e.ports >> 16 | (*e.ports & 0xffff) << 16;
	p->hash = conn_hash6(p->addr, p->ports);
	p->length = be16(e.ip->length) + sizeof(*e.ip);
	c = conn_look(p, &life);
	if (!c)
		return 0;
	p->real = READ_ONCE(c->real);
	r = real_at(p->real);
	p->why = FORWARD_ICMP;
	if (!r) {
		w->why = DROP_REAL_GONE;
		return 1;
	}
	count_in(p);
	w->ifindex = r->ifindex;
	if (r->forward == FORWARD_MASQ) {
		if (depart6(e.ip, r, p, 0) == NEXT) {
			if (r->locals)
				error_to_local6(&e, p);
			error_rewrite6(&e, e.ip->dst, e.in->src, r->addr, r->port ? (*e.ports & 0xffff0000) | r->port : *e.ports);
			eth_write(e.eth, r);
			if (unlikely(tci != load32(r->tci)) && relink(ctx, tags & 31, load32(r->tci)) == DONE)
				p->why = DROP_NO_ROOM;
		}
	} else {
		f = (struct frame){ .at = tags & 31, .tci = tci, .eth = e.eth, .ip6 = e.ip, .end = (void *)(long)ctx->data_end };
		transmit(ctx, &f, r, p, 1);
	}
	w->why = answers(p->why) ? DROP_ICMP : p->why;
	return 1;
}

/* About a request, from a NAT real server or somebody on the way there: on to the client, from the virtual address. */
__noinline int related_to_client6(struct xdp_md *ctx, struct way *w, struct packet *p, struct error6 *at, __u64 tags)
{
	struct tunables *t = settings();
	struct client *client;
	struct parts6 e;
	struct conn *c;
	__u64 life;

	if (!w || !t || !p || !at)
		return 0;
	forget_bounds(tags);
	if (!error_parts6(ctx, at, tags, &e) || !proto_has_ports(at->proto) || e.ip->hop_limit <= 1)
		return 0;
	p->tick = tick_now(t);
	p->ports = (__u64)KIND_IPV6 << 40 | (__u64)(at->proto & 0xff) << 32 | (*e.ports & 0xffff);
	p->hash = conn_hash6(e.in->src, p->ports);
	__builtin_memcpy(p->addr, e.in->src, sizeof(p->addr));
	c = reply_find(p, *e.ports >> 16, &life);
	if (!c)
		return 0;
	count_out(p->real, be16(e.ip->length) + sizeof(*e.ip));
	client = client_of(ctx, c, p->tick);
	if (eth_to_client(e.eth, client ? client->hop : 0, w) == DONE)
		return 1;
	e.ip->hop_limit--;
	error_rewrite6(&e, e.ip->src, e.in->dst, c->addr + 4, (*e.ports & 0xffff) | (__u32)c->vport << 16);
	w->why = FORWARD_ICMP;
	return 1;
}

/* About a request to a real server of FULLNAT, to its sender's local address: on to the client, about the client's own packet. */
__noinline int related_to_local6(struct xdp_md *ctx, struct way *w, struct packet *p, struct error6 *at, __u64 tags)
{
	struct tunables *t = settings();
	struct client *client;
	struct parts6 e;
	struct conn *c;
	__u64 life;

	if (!w || !t || !p || !at)
		return 0;
	forget_bounds(tags);
	if (!error_parts6(ctx, at, tags, &e) || !proto_has_ports(at->proto) || e.ip->hop_limit <= 1)
		return 0;
	p->tick = tick_now(t);
	p->ports = (__u64)(KIND_IPV6 | KIND_RETURN) << 40 | (__u64)(at->proto & 0xff) << 32 | *e.ports;
	__builtin_memcpy(p->addr, e.in->src, sizeof(p->addr));
	p->hash = conn_hash6(p->addr, p->ports);
	c = full_find(p, &life);
	if (!c)
		return 0;
	count_out(p->real, be16(e.ip->length) + sizeof(*e.ip));
	client = client_of(ctx, c, p->tick);
	if (eth_to_client(e.eth, client ? client->hop : 0, w) == DONE)
		return 1;
	e.ip->hop_limit--;
	error_rewrite6(&e, e.ip->src, e.in->dst, c->addr + 4, (*e.ports & 0xffff) | (__u32)c->vport << 16);
	error_rewrite6(&e, e.ip->dst, e.in->src, c->addr, (*e.ports & 0xffff0000) | c->cport);
	w->why = FORWARD_ICMP;
	return 1;
}

/* About a packet of a tunnel with IPv6 outside. */
__noinline int related_to_tunnel6(struct xdp_md *ctx, struct way *w, struct error6 *at, __u64 tags)
{
	struct told told = { .v6 = 1 };
	struct parts6 e;
	int front;

	if (!w || !at)
		return 0;
	forget_bounds(tags);
	if (!error_parts6(ctx, at, tags, &e))
		return 0;
	front = tunnel_front_of(at->proto, *e.ports);
	if (front < 0)
		return 0;
	told.inside = at->ports + front;
	told.type = e.icmp->type;
	told.code = e.icmp->code;
	told.mtu = be32(e.icmp->rest);
	__builtin_memcpy(told.dst, e.in->dst, sizeof(told.dst));
	__builtin_memcpy(told.src, e.in->src, sizeof(told.src));
	return tunnel_tell(ctx, w, &told);
}

#endif
