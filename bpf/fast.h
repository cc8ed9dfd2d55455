/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * fast.h: the road of nearly every packet: TCP or UDP, whole, without tag, option or extension, whose connection lives and
 * stays in its state. First it only looks: a packet that has anything else about it begins anew on another road, as nothing
 * was written yet. Nothing here has its address taken or is a call, so that all stays in registers.
 */
#ifndef VIPD_FAST_H
#define VIPD_FAST_H

#include "conn.h"
#include "ipv6.h"
#include "reply.h"
#include "transmit.h"

/* A whole IPv4 packet, TCP or UDP, behind whose header TCP's can be read. No options: the caller has seen that. */
static __always_inline int plain4(struct frame *f, struct packet *p)
{
	struct ipv4 *ip = f->ip;
	struct tcp *tcp = (void *)(ip + 1);

	p->length = be16(ip->length);
	if (unlikely(ip->frag & be16(IP_MF | IP_OFFSET) || p->length > (__u64)(f->end - (void *)ip)))
		return 0;
	p->ends = load64(&ip->src);
	p->ports = load32(tcp) | (__u64)ip->proto << 32;
	if (likely(ip->proto == PROTO_TCP))
		return p->length >= sizeof(*ip) + sizeof(*tcp);
	return ip->proto == PROTO_UDP && p->length >= sizeof(*ip) + sizeof(struct udp);
}

/* The same of IPv6: no extension headers. The addresses stay in the frame. */
static __always_inline int plain6(struct frame *f, struct packet *p)
{
	struct ipv6 *ip = f->ip6;
	struct tcp *tcp = (void *)(ip + 1);

	p->length = be16(ip->length) + sizeof(*ip);
	if (unlikely(p->length > (__u64)(f->end - (void *)ip)))
		return 0;
	p->ports = load32(tcp) | (__u64)ip->next << 32 | (__u64)KIND_IPV6 << 40;
	if (likely(ip->next == PROTO_TCP))
		return p->length >= sizeof(*ip) + sizeof(*tcp);
	return ip->next == PROTO_UDP && p->length >= sizeof(*ip) + sizeof(struct udp);
}

/* What it means to a connection's state. */
static __always_inline enum event plain_event(struct packet *p, struct tcp *tcp)
{
	return packet_proto(p) == PROTO_TCP ? tcp_event(tcp->flags) : EVENT_NONE;
}

/*
 * Does the packet leave its connection's state as it is? Then its timer is `wait` from now. Nearly every packet is an ACK of an
 * established one.
 */
static __always_inline int conn_stays(struct packet *p, struct tcp *tcp, __u64 life, struct tunables *t, __u32 *wait)
{
	if (packet_proto(p) == PROTO_UDP) {
		*wait = t->udp;
		return 1;
	}
	if (likely((tcp->flags & (TCP_SYN | TCP_RST | TCP_FIN | TCP_ACK)) == TCP_ACK && life_state(life) == TCP_ESTABLISHED)) {
		*wait = t->tcp[TCP_ESTABLISHED];
		return 1;
	}
	*wait = t->tcp[life_state(life)];
	p->event = tcp_event(tcp->flags);
	return !packet_begins(p) && state_next(t, PROTO_TCP, p->event, direction_in(life), life_state(life)) == life_state(life);
}

/* Can the packet go on? What depart asks, and what more another road does; here the answer is still without consequence. */
static __always_inline int departs(struct real *r, struct packet *p, __u8 ttl)
{
	return p->length <= r->room && ttl > 1;
}

/* Nothing is left to ask: the packet is its connection's. */
static __always_inline void conn_wind(struct conn *c, struct packet *p, __u32 wait)
{
	WRITE_ONCE(c->expires, p->tick + wait);
	c->packets++;
	count_hit(&c->real, p->length);
}

/* settle of a packet that conn_wind has counted. */
static __always_inline int sent(struct real *r, __u32 ingress)
{
	__u32 to = r->ifindex;

	return to == ingress ? XDP_TX : bpf_redirect(to, 0);
}

/* ports_write where all that has to be written can be, of TCP and UDP. */
static __always_inline void ports_plain(__u32 *ports, struct real *r, struct packet *p, __u64 change)
{
	__u32 now = r->port ? (*ports & 0xffff) | (__u32)r->port << 16 : *ports;

	change += csum_change(*ports, now);
	*ports = now;
	if (likely(packet_proto(p) == PROTO_TCP))
		check_mend(&((struct tcp *)ports)->check, PROTO_TCP, change);
	else
		check_mend(&((struct udp *)ports)->check, PROTO_UDP, change);
}

/* nat_request without a question. TTL and checksum lie in one word, as in ttl_less_one. */
static __always_inline void nat_plain(struct ipv4 *ip, struct real *r, struct packet *p)
{
	enum { TTL_LESS_ONE = 0xfffe }; /* what the checksum's sum takes in */
	__u64 change = csum_change(ip->dst, r->addr[0]);
	any32 *word = (void *)&ip->ttl;
	__u32 was = *word;

	*word = ((was & 0xffff) - 1) | (__u32)csum_mend(was >> 16, change + TTL_LESS_ONE) << 16;
	ip->dst = r->addr[0];
	ports_plain((void *)(ip + 1), r, p, change);
}

static __always_inline void nat_plain6(struct ipv6 *ip, struct real *r, struct packet *p)
{
	__u64 change = csum_change6(ip->dst, r->addr);

	ip->hop_limit--;
	copy6(ip->dst, r->addr);
	ports_plain((void *)(ip + 1), r, p, change);
}

/* covered, of what plain4 and plain6 let through. */
static __always_inline int plain_covered(struct packet *p, struct tcp *tcp)
{
	return packet_proto(p) == PROTO_TCP || ((struct udp *)tcp)->check;
}

/*
 * A packet into its tunnel, without a question; whether there was room in front. First the room is made, then the packet is read
 * from where it lies now: of what was read before nothing need be kept over the call. Both shape and families are constant, so that
 * all of it lies at constant places: where the frame begins depends on nothing that is loaded, and packets that follow need not wait
 * for a connection's line.
 */
static __always_inline int wrap(struct xdp_md *ctx, struct real *r, struct packet *p, struct shape s, int v6, int outer6)
{
	__u32 more = (outer6 ? sizeof(struct ipv6) : sizeof(struct ipv4)) + shape_size(s);
	struct eth *eth;
	struct ipv4 *ip;
	struct ipv6 *ip6;
	struct outer o;
	__u32 word;

	if (unlikely(room_in_front(ctx, sizeof(*eth), more) == DONE))
		return 0;
	eth = (void *)(long)ctx->data;
	ip = (void *)(eth + 1) + more;
	ip6 = (void *)ip;
	if (unlikely((v6 ? (void *)(ip6 + 1) : (void *)(ip + 1)) > (void *)(long)ctx->data_end))
		return 0;
	if (v6) {
		word = hop_less_one(ip6);
		o = outer_of_six(ip6, outer6, p->hash >> 32, p->length);
		o.ttl = word >> 24;
		if (s.flags)
			o.inner = sum_covered6(ip6);
	} else {
		word = ttl_less_one(ip);
		o = outer_of(ip, settings(), p->hash >> 32, p->length);
		o.ttl = word;
		if (s.flags)
			o.inner = sum_covered(ip, sizeof(*ip), p->length);
	}
	if (outer6)
		front6(eth, r, &o, s, r->ends);
	else
		front4(eth, r, &o, s);
	return 1;
}

/* What became of a packet on its way into a tunnel. */
enum entry {
	ENTRY_NOT,               /* nothing yet: it has no checksum that the tunnel's can be made of */
	ENTRY_NO_ROOM,           /* it is counted, and as it was */
	ENTRY_MADE,
};

static __always_inline enum entry enter(struct xdp_md *ctx, struct conn *c, struct real *r, struct packet *p, struct tcp *tcp, __u32 wait,
					struct shape s, int v6, int outer6)
{
	if (s.flags && unlikely(!plain_covered(p, tcp)))
		return ENTRY_NOT;
	if (c)
		conn_wind(c, p, wait);
	return wrap(ctx, r, p, s, v6, outer6) ? ENTRY_MADE : ENTRY_NO_ROOM;
}

/* tunnel_request without a question. Each way of tunnelling has its own code. Without a connection it has been counted. */
static __always_inline enum entry tunnel_plain(struct xdp_md *ctx, struct conn *c, struct real *r, struct packet *p, struct tcp *tcp,
					       __u32 wait, int v6)
{
	struct shape ipip = { TUNNEL_IPIP, 0 }, gue = { TUNNEL_GUE, 0 }, gre = { TUNNEL_GRE, 0 };
	struct shape gue_checked = { TUNNEL_GUE, TUNNEL_CSUM }, gre_checked = { TUNNEL_GRE, TUNNEL_CSUM };

	switch (r->plain) {
	case PLAIN_IPIP:
		return enter(ctx, c, r, p, tcp, wait, ipip, v6, 0);
	case PLAIN_GUE:
		return enter(ctx, c, r, p, tcp, wait, gue, v6, 0);
	case PLAIN_GUE_CHECKED:
		return enter(ctx, c, r, p, tcp, wait, gue_checked, v6, 0);
	case PLAIN_GRE:
		return enter(ctx, c, r, p, tcp, wait, gre, v6, 0);
	case PLAIN_GRE_CHECKED:
		return enter(ctx, c, r, p, tcp, wait, gre_checked, v6, 0);
	case PLAIN_IPIP_OVER6:
		return enter(ctx, c, r, p, tcp, wait, ipip, v6, 1);
	case PLAIN_GUE_OVER6:
		return enter(ctx, c, r, p, tcp, wait, gue, v6, 1);
	case PLAIN_GUE_CHECKED_OVER6:
		return enter(ctx, c, r, p, tcp, wait, gue_checked, v6, 1);
	case PLAIN_GRE_OVER6:
		return enter(ctx, c, r, p, tcp, wait, gre, v6, 1);
	case PLAIN_GRE_CHECKED_OVER6:
		return enter(ctx, c, r, p, tcp, wait, gre_checked, v6, 1);
	}
	return ENTRY_NOT;
}

/*
 * A first packet that the fast road has read goes as those that follow it. Whether it does; else it is as it was, and transmit's to send.
 * Pointers into the frame are void after this.
 */
static __always_inline int first_plain(struct xdp_md *ctx, struct frame *f, struct real *r, struct packet *p, int v6)
{
	struct tcp *tcp = v6 ? (void *)(f->ip6 + 1) : (void *)(f->ip + 1);
	enum entry entry;

	if (unlikely((void *)(tcp + 1) > f->end || !departs(r, p, v6 ? f->ip6->hop_limit : f->ip->ttl)))
		return 0;
	if (likely(r->plain == PLAIN_ROUTE)) {
		if (v6)
			f->ip6->hop_limit--;
		else
			ttl_less_one(f->ip);
		eth_write(f->eth, r);
		return 1;
	}
	if (r->plain == PLAIN_MASQ) {
		if (v6)
			nat_plain6(f->ip6, r, p);
		else
			nat_plain(f->ip, r, p);
		eth_write(f->eth, r);
		return 1;
	}
	entry = tunnel_plain(ctx, NULL, r, p, tcp, 0, v6);
	if (entry == ENTRY_NO_ROOM)
		p->why = DROP_NO_ROOM;
	return entry != ENTRY_NOT;
}

#endif
