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

#include "fullnat.h"
#include "icmp.h"
#include "reply.h"
#include "told.h"
#include "transmit.h"

/* An error, taken apart. Pointers into the frame, checked as far as these headers go. */
struct error {
	struct eth *eth;
	struct ipv4 *ip;
	struct icmp *icmp;
	struct ipv4 *in;         /* the packet that it is about */
	__u32 *ports;            /* of that packet */
};

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

/* On to a real server, by its method; also to one that was removed, which still sends what it was asked for. */
__noinline int related_to_server(struct xdp_md *ctx, struct way *w, struct packet *p, __u32 at, __u32 tci)
{
	struct tunables *t = settings();
	struct frame f = {};
	struct error e;
	struct real *r;
	__u64 life;
	struct conn *c;

	if (!w || !t || !p || at > MAX_LINK)
		return 0;
	forget_bounds(at);
	if (!error_parse(ctx, at, &e) || !proto_has_ports(e.in->proto))
		return 0;
	p->tick = tick_now(t);
	p->addr[0] = e.in->dst;
	p->addr[1] = e.in->src;
	p->ports = *e.ports >> 16 | (*e.ports & 0xffff) << 16 | (__u64)e.in->proto << 32;
	p->hash = conn_hash(e.in->dst, p->ports);
	p->length = be16(e.ip->length);
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
		if (depart(e.ip, r, p, 0) == NEXT) {
			__u64 local = r->locals ? local_read(c) : 0;

			if (local) /* one from before its real server became FULLNAT has none */
				error_rewrite(&e, &e.in->dst, local, (*e.ports & 0xffff) | (local >> 32 & 0xffff) << 16);
			outer_rewrite(e.ip, &e.ip->dst, r->addr[0]);
			error_rewrite(&e, &e.in->src, r->addr[0], r->port ? (*e.ports & 0xffff0000) | r->port : *e.ports);
			eth_write(e.eth, r);
			if (unlikely(tci != load32(r->tci)) && relink(ctx, at, load32(r->tci)) == DONE)
				p->why = DROP_NO_ROOM;
		}
	} else {
		f = (struct frame){ .at = at, .tci = tci, .eth = e.eth, .ip = e.ip, .end = (void *)(long)ctx->data_end };
		transmit(ctx, &f, r, p, 0);
	}
	w->why = answers(p->why) ? DROP_ICMP : p->why;
	return 1;
}

/* About a request, from a NAT real server or somebody on the way there: on to the client, from the virtual address. */
__noinline int related_to_client(struct xdp_md *ctx, struct way *w, struct packet *p, __u32 at)
{
	struct tunables *t = settings();
	struct error e;
	struct conn *c;
	__be32 virt;
	__be16 vport;
	__u64 life;

	if (!w || !t || !p || at > MAX_LINK)
		return 0;
	forget_bounds(at);
	if (!error_parse(ctx, at, &e) || !proto_has_ports(e.in->proto) || e.ip->ttl <= 1)
		return 0;
	p->tick = tick_now(t);
	p->ports = (*e.ports & 0xffff) | (__u64)e.in->proto << 32;
	p->hash = conn_hash(e.in->src, p->ports);
	p->addr[0] = e.in->src;
	p->addr[1] = e.in->dst;
	c = reply_find(p, *e.ports >> 16, &life);
	if (!c)
		return 0;
	virt = c->addr[1];
	vport = c->vport;
	count_out(p->real, be16(e.ip->length));
	if (eth_to_client(e.eth, hop_to_client(ctx, c, p->tick), w) == DONE)
		return 1;
	ttl_less_one(e.ip);
	outer_rewrite(e.ip, &e.ip->src, virt);
	error_rewrite(&e, &e.in->dst, virt, (*e.ports & 0xffff) | (__u32)vport << 16);
	w->why = FORWARD_ICMP;
	return 1;
}

/* About a request to a real server of FULLNAT, to its sender's local address: on to the client, about the client's own packet. */
__noinline int related_to_local(struct xdp_md *ctx, struct way *w, struct packet *p, __u32 at)
{
	struct tunables *t = settings();
	struct error e;
	struct conn *c;
	__be32 client, virt;
	__u64 life;

	if (!w || !t || !p || at > MAX_LINK)
		return 0;
	forget_bounds(at);
	if (!error_parse(ctx, at, &e) || !proto_has_ports(e.in->proto) || e.ip->ttl <= 1)
		return 0;
	p->tick = tick_now(t);
	p->addr[0] = e.in->src;
	p->addr[1] = e.in->dst;
	p->ports = *e.ports | (__u64)e.in->proto << 32 | (__u64)KIND_RETURN << 40;
	p->hash = conn_hash(e.in->src, p->ports);
	c = full_find(p, &life);
	if (!c)
		return 0;
	client = c->addr[0];
	virt = c->addr[1];
	count_out(p->real, be16(e.ip->length));
	if (eth_to_client(e.eth, hop_to_client(ctx, c, p->tick), w) == DONE)
		return 1;
	ttl_less_one(e.ip);
	outer_rewrite(e.ip, &e.ip->src, virt);
	outer_rewrite(e.ip, &e.ip->dst, client);
	error_rewrite(&e, &e.in->src, client, (*e.ports & 0xffff0000) | c->cport);
	error_rewrite(&e, &e.in->dst, virt, (*e.ports & 0xffff) | (__u32)c->vport << 16);
	w->why = FORWARD_ICMP;
	return 1;
}

/* About a packet of a tunnel with IPv4 outside. */
__noinline int related_to_tunnel(struct xdp_md *ctx, struct way *w, __u32 at)
{
	struct told told = {};
	struct error e;
	int front;

	if (!w || at > MAX_LINK)
		return 0;
	forget_bounds(at);
	if (!error_parse(ctx, at, &e))
		return 0;
	front = tunnel_front_of(e.in->proto, *e.ports);
	if (front < 0)
		return 0;
	told.inside = (at & 31) + header_of(e.ip) + sizeof(*e.icmp) + header_of(e.in) + front;
	told.type = e.icmp->type;
	told.code = e.icmp->code;
	told.mtu = be32(e.icmp->rest) & 0xffff;
	told.dst[0] = e.in->dst;
	told.src[0] = e.in->src;
	return tunnel_tell(ctx, w, &told);
}

#endif
