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
	__u32 both = tos & tos >> 1;

	forget_bounds(both); /* else clang asks and branches */
	return tos - (both & 1);
}

/* The same of an IPv6 header's first word, in its own order: without the flow label. */
static __always_inline __u32 outer_class(__be32 version_class_flow)
{
	__u32 both = version_class_flow & version_class_flow >> 1;

	forget_bounds(both);
	return (version_class_flow & be32(0xfff00000)) - (both & be32(1 << 20));
}

/* Has the packet a checksum over all that is behind its header? Not UDP without one, other protocols, and fragments. */
static __always_inline int covered(struct ipv4 *ip, struct udp *udp, void *end)
{
	if (ip->frag & be16(IP_OFFSET | IP_MF))
		return 0;
	return ip->proto == PROTO_TCP || (ip->proto == PROTO_UDP && (void *)(udp + 1) <= end && udp->check);
}

/*
 * The sum of a whole packet: words as the frame has them, and by how much it is more a number in host order, for which shifted by a byte is as
 * good as turned round. Either may be less than nothing, so that what is taken out costs no more than what is added; csum_whole
 * makes it a sum.
 */
struct sum {
	__s64 words, number;
};

/* A checksum makes what it covers sum to nothing but the pseudo header, so that no payload is read. */
static __always_inline struct sum sum_covered(struct ipv4 *ip, __u32 header, __u32 length)
{
	return (struct sum){ .words = -(__s64)ip->src - ip->dst, .number = (__s64)header - ip->proto - length };
}

static __always_inline struct sum sum_of_inner(struct xdp_md *ctx, struct ipv4 *ip, void *end, __u32 at)
{
	__u32 header = (ip->version_ihl & 15) * 4, length = be16(ip->length);

	if (covered(ip, (void *)ip + header, end))
		return sum_covered(ip, header, length);
	return (struct sum){ .words = csum_bytes(ctx, at, length) };
}

/* The same of an IPv6 packet, whose own header has no checksum: its addresses and the pseudo header's are nothing together. */
static __always_inline int covered6(struct ipv6 *ip, void *end)
{
	struct udp *udp = (void *)(ip + 1);

	return ip->next == PROTO_TCP || (ip->next == PROTO_UDP && (void *)(udp + 1) <= end && udp->check);
}

static __always_inline struct sum sum_covered6(struct ipv6 *ip)
{
	/* with the word of next header and hop limit; the length is in both */
	__u16 next_hop = load32(&ip->length) >> 16;

	return (struct sum){ .words = (__s64)ip->version_class_flow + next_hop, .number = -(__s64)(next_hop & 0xff) };
}

static __always_inline struct sum sum_of_inner6(struct xdp_md *ctx, struct ipv6 *ip, void *end, __u32 at)
{
	if (covered6(ip, end))
		return sum_covered6(ip);
	return (struct sum){ .words = csum_bytes(ctx, at, be16(ip->length) + sizeof(*ip)) };
}

/* What an outer header is made of; the packet itself may have moved. */
struct outer {
	struct sum inner;
	__u32 flow;              /* hash of the connection */
	__u32 length;            /* of the packet */
	__u32 fragment;          /* IPv4's word of identification and flags */
	__u32 class;             /* IPv6's word of version and traffic class */
	__u8 tos, ttl, proto;
	__be16 type;             /* EtherType of the packet */
};

/* A sum that may be below nothing, by no more than some sixteen words: so many are nothing too. */
static __always_inline __u64 csum_whole(__s64 sum)
{
	return sum + (0xffffffffll << 4);
}

static __always_inline void front_write(void *at, struct real *r, struct outer *o, struct shape s, __u64 pseudo)
{
	__u64 length = o->length + GUE_FRONT;

	if (s.tunnel == TUNNEL_GUE) {
		__u64 turned = be16(length);
		/* The source port spreads flows over the queues and paths behind (RFC 7510 3): one of the dynamic ones. */
		__u16 sport = be16(0xc000 | (o->flow & 0x3fff));
		__u64 udp = sport | (__u64)r->tunnel_port << 16;

		/*
		 * Of the header in front, UDP's, GUE's, which is no more than its protocol, and the packet. The sum is turned round before it
		 * is folded: then it is never 0, which would say that there is none.
		 * ipvs: remcsum alone also fills the checksum; its option is for checksums that hardware has yet to fill in.
		 */
		if (s.flags & (TUNNEL_CSUM | TUNNEL_REMCSUM)) {
			__s64 number = o->inner.number + PROTO_UDP + o->proto + 2ll * length;

			udp |= (__u64)csum_fold(csum_whole(-(number * 256) - o->inner.words - (__s64)pseudo - (__s64)udp)) << 48;
		}
		forget_bounds(turned); /* else clang turns eight bytes and takes two of them */
		*(any64 *)at = udp | turned << 32;
		*(any32 *)(at + sizeof(struct udp)) = (__u32)o->proto << 8;
	} else if (s.tunnel == TUNNEL_GRE) {
		__u32 gre = (__u32)o->type << 16;

		if (s.flags & TUNNEL_CSUM) {
			gre |= be16(GRE_CHECKSUM);
			*(any32 *)(at + sizeof(struct gre)) = (__u16)~csum_fold(csum_whole(gre + o->inner.words + o->inner.number * 256));
		}
		*(any32 *)at = gre;
	}
}

static __always_inline __u8 outer_proto(struct shape s, struct outer *o)
{
	return s.tunnel == TUNNEL_GUE ? PROTO_UDP : s.tunnel == TUNNEL_GRE ? PROTO_GRE : o->proto;
}

/*
 * The header in whole words, which are also what its checksum adds up: nothing is read again. `ends` is the sum of the addresses, which
 * are written before it is needed, so that they need not be kept.
 */
static __always_inline void outer_write(struct ipv4 *ip, __be32 src, __be32 dst, __u64 ends, struct outer *o, struct shape s, __u32 length)
{
	__u32 *word = (void *)ip;
	__u32 first = 0x45 | (__u32)o->tos << 8 | (__u32)be16(length) << 16;
	__u32 second = o->fragment;
	__u32 third = o->ttl | (__u32)outer_proto(s, o) << 8;

	word[3] = src;
	word[4] = dst;
	word[0] = first;
	word[1] = second;
	forget_bounds(ends);
	word[2] = third | (__u32)(__u16)~csum_fold((__u64)first + second + third + ends) << 16;
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
	__u64 ends = (__u64)src + dst;

	eth_write(eth, r);
	eth->type = be16(ETH_IPV4);
	outer_write(ip, src, dst, ends, o, s, o->length + sizeof(*ip) + shape_size(s));
	front_write(ip + 1, r, o, s, ends);
}

/* The same with an IPv6 header. Its flow label is 0, as IPVS has it. `ends` is the sum of the addresses. */
static __always_inline void front6(struct eth *eth, struct real *r, struct outer *o, struct shape s, __u64 ends)
{
	struct ipv6 *ip = (void *)(eth + 1);

	eth_write(eth, r);
	eth->type = be16(ETH_IPV6);
	*(any64 *)ip = o->class | (__u64)be16(o->length + shape_size(s)) << 32 |
		       (__u64)outer_proto(s, o) << 48 | (__u64)o->ttl << 56;
	copy6(ip->src, r->source);
	copy6(ip->dst, r->addr);
	front_write(ip + 1, r, o, s, ends);
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
	front6(eth, r, o, s, csum_add6(r->source) + csum_add6(r->addr));
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

	if (t->pmtu_disc && ip->frag & be16(IP_DF))
		o.fragment = (__u32)be16(IP_DF) << 16;
	else
		o.fragment = (__be16)(ip->id ^ flow);
	o.class = be32(6 << 28 | (__u32)o.tos << 20);
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
static __always_inline struct outer outer_of_six(struct ipv6 *ip, int outer6, __u32 flow, __u32 length)
{
	struct outer o = { .flow = flow, .length = length, .tos = outer_tos(be32(ip->version_class_flow) >> 20),
			   .ttl = ip->hop_limit, .proto = PROTO_IPV6, .type = be16(ETH_IPV6) };

	o.class = outer_class(ip->version_class_flow);
	if (!outer6)
		o.fragment = (__be16)bpf_get_prandom_u32();
	return o;
}

static __always_inline enum step outer_of6(struct xdp_md *ctx, struct ipv6 *ip, void *end, struct real *r, __u32 at, __u32 more,
					   __u32 flow, struct packet *p, struct outer *o)
{
	p->length = be16(ip->length) + sizeof(*ip);
	if (depart6(ip, r, p, more) == DONE)
		return DONE;
	*o = outer_of_six(ip, r->flags & REAL_IPV6, flow, p->length);
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
