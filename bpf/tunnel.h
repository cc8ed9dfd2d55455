/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tunnel.h: the packet goes to its real server as it is, inside another: IP in IP (RFC 2003, 2473, 4213), GUE (the version of
 * draft-ietf-intarea-gue-09 that Linux speaks) or GRE (RFC 2784, 7676). Either family inside, either outside: the outer one is
 * the real server's.
 */
#ifndef VIPD_TUNNEL_H
#define VIPD_TUNNEL_H

#include "direct.h"

struct gue {
	__u8 version_length, proto;
	__be16 flags;
};

struct gre {
	__be16 flags, type;
};

struct gre_check {
	__u16 check, zero;
};

enum { GRE_CHECKSUM = 0x8000, GUE_FRONT = sizeof(struct udp) + sizeof(struct gue) };

/* The IP header in front. */
static __always_inline __u32 outer_header(struct real *r)
{
	return r->flags & REAL_IPV6 ? sizeof(struct ipv6) : sizeof(struct ipv4);
}

/* What stands between the outer IP header and the packet. On the fast road both are constants. */
struct shape {
	__u32 tunnel;            /* enum tunnel */
	__u32 flags;             /* enum tunnel_flag */
};

static __always_inline struct shape tunnel_shape(struct real *r)
{
	return (struct shape){ .tunnel = r->tunnel, .flags = r->tunnel_flags };
}

static __always_inline __u32 shape_size(struct shape s)
{
	if (s.tunnel == TUNNEL_IPIP)
		return 0;
	if (s.tunnel != TUNNEL_GRE)
		return GUE_FRONT;
	return s.flags & TUNNEL_CSUM ? sizeof(struct gre) + sizeof(struct gre_check) : sizeof(struct gre);
}

static __always_inline __u32 tunnel_front(struct real *r)
{
	return shape_size(tunnel_shape(r));
}

/*
 * As the packet's, but congestion that was experienced inside (both bits) is not experienced outside: ECT(0), which is one less (RFC
 * 3168 9.1.1, full functionality).
 */
static __always_inline __u8 outer_tos(__u8 tos)
{
	return tos - (tos & tos >> 1 & 1);
}

/* Has the packet a checksum over all that is behind its header? Not UDP without one, other protocols, and fragments. */
static __always_inline int covered(struct ipv4 *ip, struct udp *udp, void *end)
{
	if (ip->frag & be16(IP_OFFSET | IP_MF))
		return 0;
	return ip->proto == PROTO_TCP || (ip->proto == PROTO_UDP && (void *)(udp + 1) <= end && udp->check);
}

/* A checksum makes what it covers sum to nothing but the pseudo header, so that no payload is read. */
static __always_inline __u64 sum_covered(struct ipv4 *ip, __u32 header, __u32 length)
{
	return csum_less(ip->src) + csum_less(ip->dst) + csum_less(csum_number(ip->proto + length - header));
}

/* The sum of the whole packet. */
static __always_inline __u64 sum_of_inner(struct xdp_md *ctx, struct ipv4 *ip, void *end, __u32 at)
{
	__u32 header = (ip->version_ihl & 15) * 4, length = be16(ip->length);

	if (covered(ip, (void *)ip + header, end))
		return sum_covered(ip, header, length);
	return csum_bytes(ctx, at, length);
}

/* The same of an IPv6 packet, whose own header has no checksum: its addresses and the pseudo header's are nothing together. */
static __always_inline int covered6(struct ipv6 *ip, void *end)
{
	struct udp *udp = (void *)(ip + 1);

	return ip->next == PROTO_TCP || (ip->next == PROTO_UDP && (void *)(udp + 1) <= end && udp->check);
}

static __always_inline __u64 sum_covered6(struct ipv6 *ip)
{
	return (__u64)ip->version_class_flow + load32(&ip->length) + csum_less(ip->length + csum_number(ip->next));
}

static __always_inline __u64 sum_of_inner6(struct xdp_md *ctx, struct ipv6 *ip, void *end, __u32 at)
{
	return covered6(ip, end) ? sum_covered6(ip) : csum_bytes(ctx, at, be16(ip->length) + sizeof(*ip));
}

/* What an outer header is made of; the packet itself may have moved. */
struct outer {
	__u64 inner;             /* sum of the packet, which is not folded */
	__u32 flow;              /* hash of the connection */
	__u16 length;            /* of the packet */
	__be16 frag, id;
	__u8 tos, ttl, proto;
	__be16 type;             /* EtherType of the packet */
};

static __always_inline void front_write(void *at, struct real *r, struct outer *o, struct shape s, __u64 pseudo)
{
	__u16 length = o->length + GUE_FRONT;

	if (s.tunnel == TUNNEL_GUE) {
		/* The source port spreads flows over the queues and paths behind (RFC 7510 3): one of the dynamic ones. */
		__u16 sport = be16(0xc000 | (o->flow & 0x3fff));
		__u64 udp = sport | (__u64)r->tunnel_port << 16 | (__u64)be16(length) << 32;
		__u32 gue = (__u32)o->proto << 8;

		/* ipvs: remcsum alone also fills the checksum; its option is for checksums that hardware has yet to fill in. */
		if (s.flags & (TUNNEL_CSUM | TUNNEL_REMCSUM)) {
			__u16 check = ~csum_fold(pseudo + csum_number(PROTO_UDP + length) + (__u32)udp + (udp >> 32) + gue + o->inner);

			udp |= (__u64)(check ? check : 0xffff) << 48;
		}
		*(any64 *)at = udp;
		*(any32 *)(at + sizeof(struct udp)) = gue;
	} else if (s.tunnel == TUNNEL_GRE) {
		struct gre *gre = at;
		struct gre_check *c = (void *)(gre + 1);

		*gre = (struct gre){ .type = o->type };
		if (s.flags & TUNNEL_CSUM) {
			gre->flags = be16(GRE_CHECKSUM);
			*c = (struct gre_check){ .check = ~csum_fold((__u64)gre->flags + gre->type + o->inner) };
		}
	}
}

static __always_inline __u8 outer_proto(struct shape s, struct outer *o)
{
	return s.tunnel == TUNNEL_GUE ? PROTO_UDP : s.tunnel == TUNNEL_GRE ? PROTO_GRE : o->proto;
}

/* The header in whole words, which are also what its checksum adds up: nothing is read again. */
static __always_inline void outer_write(struct ipv4 *ip, __be32 src, __be32 dst, struct outer *o, struct shape s, __u32 length)
{
	__u32 *word = (void *)ip;
	__u32 first = 0x45 | (__u32)o->tos << 8 | (__u32)be16(length) << 16;
	__u32 second = o->id | (__u32)o->frag << 16;
	__u32 third = o->ttl | (__u32)outer_proto(s, o) << 8;

	word[0] = first;
	word[1] = second;
	word[2] = third | (__u32)(__u16)~csum_fold((__u64)first + second + third + src + dst) << 16;
	word[3] = src;
	word[4] = dst;
}

/*
 * Makes room in front of a packet that begins `at` bytes into the frame: `more` bytes, and of the Ethernet header, which has no tag
 * then. Nothing of the frame that was read before holds afterwards. DONE: there is none.
 */
static __always_inline enum step room_in_front(struct xdp_md *ctx, __u32 at, __u32 more)
{
	return bpf_xdp_adjust_head(ctx, (int)at - (int)(sizeof(struct eth) + more)) ? DONE : NEXT;
}

/* Fills it with an IPv4 header and what the tunnel has behind it. */
static __always_inline void front4(struct eth *eth, struct real *r, struct outer *o, struct shape s)
{
	struct ipv4 *ip = (void *)(eth + 1);
	__be32 src = r->source[0], dst = r->addr[0]; /* once: clang takes what is written for what they may be read from */

	eth_write(eth, r);
	eth->type = be16(ETH_IPV4);
	outer_write(ip, src, dst, o, s, o->length + sizeof(*ip) + shape_size(s));
	front_write(ip + 1, r, o, s, (__u64)src + dst);
}

/* The same with an IPv6 header. Its flow label is 0, as IPVS has it. */
static __always_inline void front6(struct eth *eth, struct real *r, struct outer *o, struct shape s)
{
	struct ipv6 *ip = (void *)(eth + 1);

	eth_write(eth, r);
	eth->type = be16(ETH_IPV6);
	*(any64 *)ip = be32(6 << 28 | (__u32)o->tos << 20) | (__u64)be16(o->length + shape_size(s)) << 32 |
		       (__u64)outer_proto(s, o) << 48 | (__u64)o->ttl << 56;
	copy6(ip->src, r->source);
	copy6(ip->dst, r->addr);
	front_write(ip + 1, r, o, s, csum_add6(r->source) + csum_add6(r->addr));
}

static __always_inline enum step encapsulate4(struct xdp_md *ctx, struct real *r, __u32 at, struct outer *o, struct shape s)
{
	struct eth *eth;

	if (room_in_front(ctx, at, sizeof(struct ipv4) + shape_size(s)) == DONE)
		return DONE;
	eth = (void *)(long)ctx->data;
	/* the longest; what is shorter has the packet behind it */
	if ((void *)(eth + 1) + sizeof(struct ipv4) + GUE_FRONT > (void *)(long)ctx->data_end)
		return DONE;
	front4(eth, r, o, s);
	return NEXT;
}

static __always_inline enum step encapsulate6(struct xdp_md *ctx, struct real *r, __u32 at, struct outer *o, struct shape s)
{
	struct eth *eth;

	if (room_in_front(ctx, at, sizeof(struct ipv6) + shape_size(s)) == DONE)
		return DONE;
	eth = (void *)(long)ctx->data;
	if ((void *)(eth + 1) + sizeof(struct ipv6) + GUE_FRONT > (void *)(long)ctx->data_end)
		return DONE;
	front6(eth, r, o, s);
	return NEXT;
}

/*
 * Around an IPv4 packet. TTL, type of service and "don't fragment" are the packet's own. Without the latter the identification is
 * the packet's, stirred: it is no more unique than that (RFC 6864 4.3).
 */
static __always_inline struct outer outer_of(struct ipv4 *ip, struct tunables *t, __u32 flow, __u32 length)
{
	struct outer o = { .flow = flow, .length = length, .tos = outer_tos(ip->tos), .ttl = ip->ttl, .proto = PROTO_IPIP,
			   .type = be16(ETH_IPV4) };

	if (t->pmtu_disc)
		o.frag = ip->frag & be16(IP_DF);
	if (!o.frag)
		o.id = ip->id ^ flow;
	return o;
}

/* Of a packet that grows by `more` bytes; NEXT, or DONE and p->why. */
static __always_inline enum step outer_of4(struct xdp_md *ctx, struct ipv4 *ip, void *end, struct real *r, __u32 at, __u32 more,
					   __u32 flow, struct packet *p, struct outer *o)
{
	struct tunables *t = settings();

	p->length = be16(ip->length);
	if (!t)
		return leave(p, DROP_NO_ROOM);
	if (depart(ip, r, p, more) == DONE)
		return DONE;
	*o = outer_of(ip, t, flow, p->length);
	if (unlikely(r->tunnel_flags))
		o->inner = sum_of_inner(ctx, ip, end, at);
	return NEXT;
}

/* Around an IPv6 packet: hop limit and traffic class are its own. It has no identification to lend for an IPv4 header, and IPVS
 * no "don't fragment" for it. */
static __always_inline struct outer outer_of_six(struct ipv6 *ip, struct real *r, __u32 flow, __u32 length)
{
	struct outer o = { .flow = flow, .length = length, .tos = outer_tos(be32(ip->version_class_flow) >> 20),
			   .ttl = ip->hop_limit, .proto = PROTO_IPV6, .type = be16(ETH_IPV6) };

	if (!(r->flags & REAL_IPV6))
		o.id = bpf_get_prandom_u32();
	return o;
}

static __always_inline enum step outer_of6(struct xdp_md *ctx, struct ipv6 *ip, void *end, struct real *r, __u32 at, __u32 more,
					   __u32 flow, struct packet *p, struct outer *o)
{
	p->length = be16(ip->length) + sizeof(*ip);
	if (depart6(ip, r, p, more) == DONE)
		return DONE;
	*o = outer_of_six(ip, r, flow, p->length);
	if (unlikely(r->tunnel_flags))
		o->inner = sum_of_inner6(ctx, ip, end, at);
	return NEXT;
}

/* IPv4 in IPv4. */
static __noinline enum reason tunnel_request(struct xdp_md *ctx, struct real *r, __u32 at, __u32 flow, enum reason why)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ipv4 *ip = data + at;
	struct packet p = {};
	struct outer o;

	if (at > MAX_LINK || (void *)(ip + 1) > end)
		return DROP_NO_ROOM;
	if (outer_of4(ctx, ip, end, r, at, sizeof(*ip) + tunnel_front(r), flow, &p, &o) == DONE)
		return p.why;
	return encapsulate4(ctx, r, at, &o, tunnel_shape(r)) == NEXT ? why : DROP_NO_ROOM;
}

/* IPv6 in IPv4. A global function, as the next one: verified once. */
__noinline int tunnel_6in4(struct xdp_md *ctx, struct real *r, __u32 at, __u32 flow, int why)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct packet p = {};
	struct ipv6 *ip;
	struct outer o;

	if (!r || at > MAX_LINK)
		return DROP_NO_ROOM;
	forget_bounds(at);
	ip = data + (at & 31);
	if ((void *)(ip + 1) > end)
		return DROP_NO_ROOM;
	if (outer_of6(ctx, ip, end, r, at, sizeof(struct ipv4) + tunnel_front(r), flow, &p, &o) == DONE)
		return p.why;
	return encapsulate4(ctx, r, at & 31, &o, tunnel_shape(r)) == NEXT ? why : DROP_NO_ROOM;
}

/* Either in IPv6. */
__noinline int tunnel_over6(struct xdp_md *ctx, struct real *r, __u32 at, __u32 flow, int why)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct packet p = {};
	struct ipv4 *ip;
	struct ipv6 *ip6;
	struct outer o;
	enum step s;

	if (!r || at > MAX_LINK)
		return DROP_NO_ROOM;
	forget_bounds(at);
	ip = data + (at & 31);
	ip6 = (void *)ip;
	if ((void *)(ip + 1) > end)
		return DROP_NO_ROOM;
	if (ip->version_ihl >> 4 == 4)
		s = outer_of4(ctx, ip, end, r, at, sizeof(*ip6) + tunnel_front(r), flow, &p, &o);
	else if ((void *)(ip6 + 1) > end)
		return DROP_NO_ROOM;
	else
		s = outer_of6(ctx, ip6, end, r, at, sizeof(*ip6) + tunnel_front(r), flow, &p, &o);
	if (s == DONE)
		return p.why;
	return encapsulate6(ctx, r, at & 31, &o, tunnel_shape(r)) == NEXT ? why : DROP_NO_ROOM;
}

#endif
