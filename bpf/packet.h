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

/* First index of the TCP state table: the strongest thing that a segment says. */
enum event { EVENT_SYN, EVENT_FIN, EVENT_ACK, EVENT_RST, EVENT_NONE };

struct packet {
	__u64 ends;              /* client and virtual address, as conn has them */
	__u64 ports;             /* client port, virtual port, protocol, as conn has them */
	__u64 hash;
	__u32 length;            /* IP total length */
	__u32 tick;
	__u32 service, real;
	__u32 parent;            /* line + 1 of the template that is held for it */
	__u8 event;
	__u8 opening;            /* may make a connection: UDP, or TCP with SYN and without RST */
	__u8 crowded;            /* its region has no free line */
	__u8 pad;
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

/* Frames to another station (promiscuous mode), to all and to groups are the host's: IPVS takes PACKET_HOST only. */
static __always_inline enum step parse_link(struct xdp_md *ctx, struct packet *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 ifindex = ctx->ingress_ifindex;
	struct eth *eth = data;
	struct link *link;

	if ((void *)(eth + 1) > end)
		return leave(p, PASS_MALFORMED);
	if (eth->type != be16(ETH_IPV4))
		return leave(p, PASS_NOT_IPV4);
	link = bpf_map_lookup_elem(&links, &ifindex);
	if (!link || !link->attached)
		return leave(p, PASS_NOT_OURS);
	/* Six bytes in two loads: clang would compare byte by byte. */
	if (*(__u32 *)eth->dst != *(__u32 *)link->mac || *(__u16 *)(eth->dst + 4) != *(__u16 *)(link->mac + 4))
		return leave(p, PASS_NOT_OURS);
	return NEXT;
}

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct filter);
} service_filter SEC(".maps");

/* Addresses of no service leave here, before anything dearer is asked. */
static __always_inline enum step parse_network(struct xdp_md *ctx, struct packet *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ipv4 *ip = data + sizeof(struct eth);
	struct filter *f;
	__u32 zero = 0, n;

	if ((void *)(ip + 1) > end || ip->version_ihl >> 4 != 4)
		return leave(p, PASS_MALFORMED);
	f = bpf_map_lookup_elem(&service_filter, &zero);
	if (!f)
		return leave(p, PASS_NOT_SERVICE);
	n = ip->dst ^ ip->dst >> 16;
	forget_bounds(n); /* 6.1 does not track a 32-bit exclusive or */
	if (!(f->bits[n >> 6 & (FILTER_WORDS - 1)] >> (n & 63) & 1))
		return leave(p, PASS_NOT_SERVICE);
	if (ip->proto == PROTO_ICMP)
		return leave(p, PASS_ICMP);
	if (ip->proto != PROTO_TCP && ip->proto != PROTO_UDP)
		return leave(p, PASS_NOT_SERVICE);
	if (ip->frag & be16(IP_OFFSET))
		return leave(p, PASS_FRAGMENT);
	p->length = be16(ip->length);
	p->ends = *(__u64 *)&ip->src;
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
static __always_inline enum step parse_transport(struct xdp_md *ctx, struct packet *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ipv4 *ip = data + sizeof(struct eth);
	__u32 header, need;
	struct udp *udp;

	if ((void *)(ip + 1) > end)
		return leave(p, PASS_MALFORMED);
	header = (ip->version_ihl & 15) * 4;
	need = ip->proto == PROTO_TCP ? sizeof(struct tcp) : sizeof(struct udp);
	if (header < sizeof(*ip) || p->length < header + need || (void *)ip + p->length > end)
		return leave(p, PASS_MALFORMED);
	udp = (void *)ip + header;
	if ((void *)(udp + 1) > end)
		return leave(p, PASS_MALFORMED);
	p->ports = *(__u32 *)udp | (__u64)ip->proto << 32;
	p->opening = 1;
	p->event = EVENT_NONE;
	if (ip->proto == PROTO_TCP) {
		struct tcp *tcp = (void *)udp;

		if ((void *)(tcp + 1) > end)
			return leave(p, PASS_MALFORMED);
		p->event = tcp_event(tcp->flags);
		p->opening = p->event == EVENT_SYN; /* a SYN with RST is EVENT_RST */
	}
	return NEXT;
}

#endif
