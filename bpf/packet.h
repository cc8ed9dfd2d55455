/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * packet.h: what the frame says. A step looks at it and either goes on (NEXT) or has made up its mind (DONE, packet.why).
 * Nothing is written to the frame here: whatever passes to the host passes untouched.
 */
#ifndef VIPD_PACKET_H
#define VIPD_PACKET_H

#include "headers/bpf.h"
#include "headers/net.h"
#include "shared.h"

enum step { NEXT, DONE };

/* First index of the TCP state table: the strongest thing that a segment says. NONE of a datagram too. */
enum event { EVENT_NONE, EVENT_SYN, EVENT_FIN, EVENT_ACK, EVENT_RST };

/* Where the frame lies. What a step has checked against end, the later ones may read. */
struct frame {
	struct eth *eth;
	struct ipv4 *ip;
	void *end;
	__u32 ifindex;           /* where it came in */
};

struct packet {
	__u64 ends;              /* client and virtual address, as conn has them */
	__u64 ports;             /* client port, virtual port, protocol, as conn has them */
	__u64 hash;
	__u64 hop;               /* a new connection's: by whom it came (reply.h) */
	__u32 length;            /* IP total length */
	__u32 tick;
	__u32 service;           /* of a new connection */
	__u32 real;
	__u32 parent;            /* line + 1 of the template that is held for it */
	__u32 event;
	__u32 crowded;           /* its region has no free line */
	enum reason why;
};

static __always_inline __u8 packet_proto(const struct packet *p)
{
	return p->ports >> 32;
}

static __always_inline __be16 packet_vport(const struct packet *p)
{
	return p->ports >> 16;
}

static __always_inline enum step leave(struct packet *p, enum reason why)
{
	p->why = why;
	return DONE;
}

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct link);
} links SEC(".maps");

static __always_inline struct link *link_at(__u32 ifindex)
{
	return bpf_map_lookup_elem(&links, &ifindex);
}

/* Frames to another station (promiscuous mode), to all and to groups are the host's: IPVS takes PACKET_HOST only. */
static __always_inline enum step parse_link(struct xdp_md *ctx, struct frame *f, struct packet *p)
{
	void *data = (void *)(long)ctx->data;
	struct link *link;

	f->eth = data;
	f->ip = data + sizeof(struct eth);
	f->end = (void *)(long)ctx->data_end;
	f->ifindex = ctx->ingress_ifindex;
	if (unlikely((void *)f->ip > f->end))
		return leave(p, PASS_MALFORMED);
	if (unlikely(f->eth->type != be16(ETH_IPV4)))
		return leave(p, PASS_NOT_IPV4);
	link = link_at(f->ifindex);
	if (unlikely(!link || !link->attached))
		return leave(p, PASS_NOT_OURS);
	if (unlikely(load32(f->eth->dst) != load32(link->mac) || load16(f->eth->dst + 4) != load16(link->mac + 4)))
		return leave(p, PASS_NOT_OURS);
	return NEXT;
}

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct filter);
} service_filter SEC(".maps");

static __always_inline int filter_has(__be32 addr)
{
	__u32 zero = 0, n = addr ^ addr >> 16;
	struct filter *f = bpf_map_lookup_elem(&service_filter, &zero);

	forget_bounds(n); /* 6.1 does not track a 32-bit exclusive or */
	return f && f->bits[n >> 6 & (FILTER_WORDS - 1)] >> (n & 63) & 1;
}

/* The same of real servers whose replies pass us. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct filter);
} source_filter SEC(".maps");

static __always_inline int source_has(__be32 addr)
{
	__u32 zero = 0, n = addr ^ addr >> 16;
	struct filter *f = bpf_map_lookup_elem(&source_filter, &zero);

	forget_bounds(n);
	return f && f->bits[n >> 6 & (FILTER_WORDS - 1)] >> (n & 63) & 1;
}

/* Addresses of no service leave here, before anything dearer is asked. */
static __always_inline enum step parse_network(struct frame *f, struct packet *p)
{
	struct ipv4 *ip = f->ip;

	if (unlikely((void *)(ip + 1) > f->end || ip->version_ihl >> 4 != 4))
		return leave(p, PASS_MALFORMED);
	if (unlikely(!filter_has(ip->dst)))
		return leave(p, PASS_NOT_SERVICE);
	if (unlikely(ip->proto == PROTO_ICMP))
		return leave(p, PASS_ICMP);
	if (unlikely(ip->proto != PROTO_TCP && ip->proto != PROTO_UDP))
		return leave(p, PASS_NOT_SERVICE);
	if (unlikely(ip->frag & be16(IP_OFFSET)))
		return leave(p, PASS_FRAGMENT);
	p->length = be16(ip->length);
	p->ends = load64(&ip->src);
	return NEXT;
}

static __always_inline enum event tcp_event(__u8 flags)
{
	if (likely(!(flags & (TCP_RST | TCP_SYN | TCP_FIN))))
		return flags & TCP_ACK ? EVENT_ACK : EVENT_NONE;
	if (flags & TCP_RST)
		return EVENT_RST;
	return flags & TCP_SYN ? EVENT_SYN : EVENT_FIN;
}

/* Ports and flags, behind whatever IP options there are. */
static __always_inline enum step parse_transport(struct frame *f, struct packet *p)
{
	__u32 header = (f->ip->version_ihl & 15) * 4;
	__u8 proto = f->ip->proto;
	struct tcp *tcp = (void *)f->ip + header;
	struct udp *udp = (void *)tcp;

	if (unlikely(header < sizeof(*f->ip) || (void *)f->ip + p->length > f->end))
		return leave(p, PASS_MALFORMED);
	if (likely(proto == PROTO_TCP)) {
		if (unlikely((void *)(tcp + 1) > f->end || p->length < header + sizeof(*tcp)))
			return leave(p, PASS_MALFORMED);
		p->event = tcp_event(tcp->flags);
	} else if ((void *)(udp + 1) > f->end || p->length < header + sizeof(*udp)) {
		return leave(p, PASS_MALFORMED);
	}
	p->ports = load32(tcp) | (__u64)proto << 32;
	return NEXT;
}

/* May it make a connection? A datagram may, and a SYN; one with RST is EVENT_RST. */
static __always_inline int packet_opens(const struct packet *p)
{
	return packet_proto(p) == PROTO_UDP || p->event == EVENT_SYN;
}

#endif
