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

/* What a packet means to its connection's state: the strongest thing that a TCP segment says. NONE of a datagram too. */
enum event { EVENT_NONE, EVENT_SYN, EVENT_FIN, EVENT_ACK, EVENT_RST };

enum piece { WHOLE, FIRST_FRAGMENT, LATER_FRAGMENT };
/* The first chunk of an SCTP packet. INIT has the number of SYN: it opens a connection. */
enum sctp_event {
	SCTP_OTHER, SCTP_INIT, SCTP_INIT_ACK, SCTP_COOKIE_ECHO, SCTP_COOKIE_ACK, SCTP_SHUTDOWN, SCTP_SHUTDOWN_ACK,
	SCTP_SHUTDOWN_COMPLETE, SCTP_ERROR, SCTP_ABORT,
};

/* Where the frame lies. What a step has checked against end, the later ones may read. */
struct frame {
	struct eth *eth;
	union {
		struct ipv4 *ip;
		struct ipv6 *ip6;
	};
	__u32 header;            /* length of the network header, options and extensions included */
	void *end;               /* of what can be read; a frame larger than a page goes on behind it */
	__u32 at;                /* ip - eth */
	__u32 tci;               /* tags, as real.tci */
	enum piece piece;
	__be32 id;               /* of a fragment */
};

struct packet {
	__u64 ends;              /* IPv4: client and virtual address, as conn has them */
	__u64 ports;             /* client port, virtual port, protocol, kind, as conn has them */
	__be32 addr[8];          /* the addresses as conn has them: on the slow road, and on all of IPv6's */
	__u64 hash;
	__u64 hop;               /* a new connection's: by whom it came (reply.h) */
	__u32 length;            /* IP total length */
	__u32 tick;
	__u32 service;           /* of a new connection */
	__u32 real;
	__u32 parent;            /* line + 1 of the template that is held for it */
	__u32 event;
	__u32 crowded;           /* its region has no free line */
	__u32 tci;               /* of the frame: on the slow road */
	__u32 ingress;           /* of a packet without a connection: the interface that it came in by */
	__u32 known;             /* all of the above was read by lb, for the road that it goes on to */
	enum reason why;
};

/* Not on the stack, of which all callers and callees together have 512 bytes. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct packet);
} packets SEC(".maps");

static __always_inline __u8 packet_proto(const struct packet *p)
{
	return p->ports >> 32;
}

static __always_inline __be16 packet_vport(const struct packet *p)
{
	return p->ports >> 16;
}

static __always_inline int packet_v6(const struct packet *p)
{
	return p->ports >> 40 & KIND_IPV6;
}

/* An IPv6 address as four bytes, as IPVS's hash schedulers see it. */
static __always_inline __be32 fold6(const __be32 *addr)
{
	return addr[0] ^ addr[1] ^ addr[2] ^ addr[3];
}

/* And as the two that filters are indexed by. */
static __always_inline __u16 fold16(const __be32 *addr)
{
	__u64 half = load64(addr) ^ load64(addr + 2);
	__u32 word = half ^ half >> 32;

	return word ^ word >> 16;
}

static __always_inline __be32 packet_source(const struct packet *p)
{
	return packet_v6(p) ? fold6(p->addr) : p->addr[0];
}

static __always_inline __be32 packet_destination(const struct packet *p)
{
	return packet_v6(p) ? fold6(p->addr + 4) : p->addr[1];
}

static __always_inline enum step leave(struct packet *p, enum reason why)
{
	p->why = why;
	return DONE;
}

static __always_inline int forwards(enum reason why)
{
	return why >= FORWARD_HIT && why < REPLY_NO_SERVER;
}

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct link);
} links SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, struct station);
	__type(value, __u32);
} stations SEC(".maps");

static __always_inline struct link *link_at(__u32 ifindex)
{
	return bpf_map_lookup_elem(&links, &ifindex);
}

/*
 * Frames to another station (promiscuous mode), to all and to groups are the host's: IPVS takes PACKET_HOST only. One word has
 * link.attached and behind it the address; the frame's is shifted there, and the sender's behind it out of the word.
 */
static __always_inline __u64 link_word(struct eth *eth)
{
	enum { BEFORE_MAC = 16 };

	return load64(eth->dst) << BEFORE_MAC | 1;
}

static __always_inline int link_is(struct link *link, struct eth *eth)
{
	return link && load64(link) == link_word(eth);
}

struct near near_links SECTION(".data.near_links");

/* The same of the interface that the frame came in by. */
static __always_inline int comes_to_us(__u32 ifindex, struct eth *eth)
{
	if (likely(ifindex < NEAR))
		return near_links.word[ifindex] == link_word(eth);
	return link_is(link_at(ifindex), eth);
}

/* The network header begins `at` bytes into the frame. */
static __always_inline void frame_at(struct xdp_md *ctx, struct frame *f, __u32 at)
{
	f->at = at;
	f->eth = (void *)(long)ctx->data;
	f->ip = (void *)(long)ctx->data + at;
	f->end = (void *)(long)ctx->data_end;
}

struct filter service_filter SECTION(".data.service_filter");

static __always_inline int filter_has(const __be32 *addr)
{
	return service_filter.may[load16((void *)addr + 2)];
}

static __always_inline int filter_has6(const __be32 *addr)
{
	return service_filter.may[fold16(addr)];
}

/* The same of real servers whose replies pass us, and of FULLNAT's local addresses, to which they go. */
struct filter source_filter SECTION(".data.source_filter");

static __always_inline int source_has(const __be32 *addr)
{
	return source_filter.may[load16((void *)addr + 2)];
}

static __always_inline int source_has6(const __be32 *addr)
{
	return source_filter.may[fold16(addr)];
}

/* Addresses of no service leave here, before anything dearer is asked. */
static __always_inline enum step parse_ipv4(struct frame *f, struct packet *p)
{
	struct ipv4 *ip = f->ip;
	__u32 header;

	if (unlikely((void *)(ip + 1) > f->end || ip->version_ihl >> 4 != 4))
		return leave(p, PASS_MALFORMED);
	if (unlikely(!filter_has(&ip->dst)))
		return leave(p, PASS_NOT_SERVICE);
	header = (ip->version_ihl & 15) * 4;
	p->length = be16(ip->length);
	p->ends = load64(&ip->src);
	p->ports = (__u64)ip->proto << 32;
	f->header = header;
	if (unlikely(header < sizeof(*ip) || p->length < header))
		return leave(p, PASS_MALFORMED);
	if (unlikely(ip->frag & be16(IP_MF | IP_OFFSET))) {
		f->piece = ip->frag & be16(IP_OFFSET) ? LATER_FRAGMENT : FIRST_FRAGMENT;
		f->id = ip->id;
	}
	return NEXT;
}

/* Longer than what can be read: a lie, or a frame larger than a page. */
static __always_inline int frame_short(struct xdp_md *ctx, struct frame *f, __u32 length)
{
	/* Lengths are compared and not pointers: 6.1 knows no bounds of a number whose bytes were swapped. */
	if (likely(length <= (__u64)(f->end - (void *)f->ip)))
		return 0;
	return f->at + length > bpf_xdp_get_buff_len(ctx);
}

/*
 * RST before SYN before FIN before ACK. Sixteen answers of four bits in one number, by RST, SYN, FIN and ACK as an index:
 * without a branch, for the verifier would walk all that follows once for each of five events.
 */
static __always_inline enum event tcp_event(__u8 flags)
{
	return 0x4444112344441120ull >> ((flags & (TCP_RST | TCP_SYN | TCP_FIN)) * 4 + (flags & TCP_ACK) * 2) & 15;
}

/* RFC 9260 3.2: chunk types 0 to 14. */
static __always_inline __u32 sctp_chunk_event(__u8 type)
{
	switch (type) {
	case 1: return SCTP_INIT;
	case 2: return SCTP_INIT_ACK;
	case 6: return SCTP_ABORT;
	case 7: return SCTP_SHUTDOWN;
	case 8: return SCTP_SHUTDOWN_ACK;
	case 9: return SCTP_ERROR;
	case 10: return SCTP_COOKIE_ECHO;
	case 11: return SCTP_COOKIE_ACK;
	case 14: return SCTP_SHUTDOWN_COMPLETE;
	}
	return SCTP_OTHER;
}

/*
 * Of the whole packet, whose SCTP header begins `at` bytes into the frame: an ABORT counts too where it follows a cookie. A
 * global function, so that the verifier walks it once and knows nothing of the answer.
 */
__noinline __u32 sctp_event(struct xdp_md *ctx, __u32 at)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct sctp_chunk *next;
	struct sctp_packet *sctp;
	__u32 event, length;

	if (at > 256)
		return SCTP_OTHER;
	sctp = data + at;
	if ((void *)(sctp + 1) > end)
		return SCTP_OTHER;
	event = sctp_chunk_event(sctp->chunk.type);
	length = be16(sctp->chunk.length) + 3;
	if (event != SCTP_COOKIE_ECHO && event != SCTP_COOKIE_ACK)
		return event;
	/* A sum of offsets over 65,535 is no place in a packet, says the verifier. */
	if (length < sizeof(*next) + 3 || length > 0x3fff)
		return event;
	forget_bounds(length);
	next = (void *)&sctp->chunk + (length & 0x3ffc);
	if ((void *)(next + 1) > end)
		return event;
	return sctp_chunk_event(next->type) == SCTP_ABORT ? SCTP_ABORT : event;
}

/* Ports and flags, behind whatever options or extension headers there are. */
static __always_inline enum step parse_transport(struct xdp_md *ctx, struct frame *f, struct packet *p)
{
	struct tcp *tcp = (void *)f->ip + f->header;
	struct udp *udp;
	__u8 proto = packet_proto(p);

	forget_bounds(tcp); /* else clang adds it up again behind the check, and the verifier has forgotten it */
	udp = (void *)tcp;
	if (unlikely(frame_short(ctx, f, p->length)))
		return leave(p, PASS_MALFORMED);
	if (likely(proto == PROTO_TCP)) {
		if (unlikely((void *)(tcp + 1) > f->end || p->length < f->header + sizeof(*tcp)))
			return leave(p, PASS_MALFORMED);
		p->event = tcp_event(tcp->flags);
	} else if (proto == PROTO_UDP) {
		if ((void *)(udp + 1) > f->end || p->length < f->header + sizeof(*udp))
			return leave(p, PASS_MALFORMED);
	} else if (proto == PROTO_SCTP) {
		if ((void *)tcp + sizeof(struct sctp_packet) > f->end || p->length < f->header + sizeof(struct sctp_packet))
			return leave(p, PASS_MALFORMED);
		p->event = sctp_event(ctx, f->at + f->header);
	} else {
		return leave(p, proto == PROTO_ICMP || proto == PROTO_ICMPV6 ? PASS_ICMP : PASS_NOT_SERVICE);
	}
	p->ports |= load32(tcp);
	return NEXT;
}

/* Does it say that a connection begins? A SYN or an INIT; a SYN with RST is EVENT_RST. */
static __always_inline int packet_begins(const struct packet *p)
{
	return p->event == EVENT_SYN;
}

/* May it make a connection? */
static __always_inline int packet_opens(const struct packet *p)
{
	return packet_proto(p) == PROTO_UDP || packet_begins(p);
}

#endif
