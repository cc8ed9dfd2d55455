//go:build ignore

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * decap.bpf.c: runs on a real server, not on a director: what comes through a director's tunnel is unpacked before the host
 * sees it. For kernels without the tunnel's device, and in place of one: the packet then has come in by the segment's own
 * interface, as strict reverse path filtering wants it.
 *
 * Unpacked is IP in IP (RFC 2003, 2473, 4213), GUE (version 0) and GRE (RFC 2784, 2890), one of them, to an address of this
 * host, if what is inside goes to a virtual address. All else goes to the host as it came, and is counted.
 */
#include "headers/bpf.h"
#include "headers/net.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

enum decap_outcome {
	DECAP_OTHER,     /* no tunnel's packet */
	DECAP_FRAGMENT,  /* of an outer packet: the host puts it together and has no use for it */
	DECAP_SHORT,     /* it ends within its headers */
	DECAP_STRANGE,   /* a header that is not understood */
	DECAP_NOT_OURS,  /* what is inside goes to no virtual address */
	DECAP_NO_ROOM,   /* the kernel refused to take the headers off */
	DECAP_UNPACKED,
	DECAP_OUTCOMES,
};

enum decap_kind { DECAP_IPIP, DECAP_GUE, DECAP_GRE };

/* An address; of IPv4 in the first word. */
struct decap_address {
	__be32 addr[4];
	__u32 v6;
};

const volatile __u32 decap_tunnel = DECAP_IPIP;
const volatile __u32 decap_port = 6080;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct decap_address);
	__type(value, __u8);
} decap_vips SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DECAP_OUTCOMES);
	__type(key, __u32);
	__type(value, __u64);
} decap_outcomes SEC(".maps");

enum step { NEXT, DONE };

/* Where the reading stands, from the beginning of the frame, and what comes there. */
struct layers {
	__u32 at;
	__u32 proto;             /* of what stands at `at`: IP's numbers */
	enum decap_outcome why;
};

static __always_inline enum step leave(struct layers *l, enum decap_outcome why)
{
	l->why = why;
	return DONE;
}

/* Every header read lies within this: the verifier wants a bound, and no tunnel of ours has more in front. */
enum { MOST = 255 };

static __always_inline void *here(struct xdp_md *ctx, struct layers *l)
{
	__u32 at = l->at;

	forget_bounds(at);
	return (void *)(long)ctx->data + (at & MOST);
}

static __always_inline enum step outer4(struct xdp_md *ctx, struct layers *l)
{
	void *end = (void *)(long)ctx->data_end;
	struct ipv4 *ip = here(ctx, l);
	__u32 header;

	if ((void *)(ip + 1) > end)
		return leave(l, DECAP_SHORT);
	header = (ip->version_ihl & 15) * 4;
	if (ip->version_ihl >> 4 != 4 || header < sizeof(*ip))
		return leave(l, DECAP_OTHER);
	l->proto = ip->proto;
	l->at += header;
	return ip->frag & be16(IP_MF | IP_OFFSET) ? leave(l, DECAP_FRAGMENT) : NEXT;
}

/* Of extension headers the tunnel encapsulation limit alone is usual (RFC 2473 4.1.1): destination options of 8 bytes. */
static __always_inline enum step outer6(struct xdp_md *ctx, struct layers *l)
{
	void *end = (void *)(long)ctx->data_end;
	struct ipv6 *ip = here(ctx, l);
	__u8 *option = (void *)(ip + 1);

	if ((void *)(ip + 1) > end)
		return leave(l, DECAP_SHORT);
	if (be32(ip->version_class_flow) >> 28 != 6)
		return leave(l, DECAP_OTHER);
	l->proto = ip->next;
	l->at += sizeof(*ip);
	if (l->proto == NEXT_FRAGMENT)
		return leave(l, DECAP_FRAGMENT);
	if (l->proto != NEXT_OPTIONS)
		return NEXT;
	if ((void *)(option + 8) > end)
		return leave(l, DECAP_SHORT);
	if (option[1])
		return leave(l, DECAP_STRANGE);
	l->proto = option[0];
	l->at += 8;
	return NEXT;
}

static __always_inline enum step gue(struct xdp_md *ctx, struct layers *l)
{
	void *end = (void *)(long)ctx->data_end;
	struct udp *udp = here(ctx, l);
	__u8 *front = (void *)(udp + 1);

	if (l->proto != PROTO_UDP)
		return leave(l, DECAP_OTHER);
	if ((void *)(front + 4) > end)
		return leave(l, DECAP_SHORT);
	if (udp->dport != be16(decap_port))
		return leave(l, DECAP_OTHER);
	if (front[0] & 0xe0) /* another version, or a control message */
		return leave(l, DECAP_STRANGE);
	l->proto = front[1];
	l->at += sizeof(*udp) + 4 + (front[0] & 31) * 4;
	return NEXT;
}

enum { GRE_CHECKSUM = 0x8000, GRE_KEY = 0x2000, GRE_SEQUENCE = 0x1000 };

static __always_inline enum step gre(struct xdp_md *ctx, struct layers *l)
{
	void *end = (void *)(long)ctx->data_end;
	__be16 *front = here(ctx, l);
	__u32 flags, type;

	if (l->proto != PROTO_GRE)
		return leave(l, DECAP_OTHER);
	if ((void *)(front + 2) > end)
		return leave(l, DECAP_SHORT);
	flags = be16(front[0]);
	type = be16(front[1]);
	if (flags & ~(GRE_CHECKSUM | GRE_KEY | GRE_SEQUENCE)) /* routing of RFC 1701, another version */
		return leave(l, DECAP_STRANGE);
	if (type != ETH_IPV4 && type != ETH_IPV6)
		return leave(l, DECAP_STRANGE);
	l->proto = type == ETH_IPV6 ? PROTO_IPV6 : PROTO_IPIP;
	l->at += 4 + (flags & GRE_CHECKSUM ? 4 : 0) + (flags & GRE_KEY ? 4 : 0) + (flags & GRE_SEQUENCE ? 4 : 0);
	return NEXT;
}

static __always_inline enum step front(struct xdp_md *ctx, struct layers *l)
{
	if (decap_tunnel == DECAP_GUE)
		return gue(ctx, l);
	if (decap_tunnel == DECAP_GRE)
		return gre(ctx, l);
	return NEXT;
}

/* Whom is the packet inside for? */
static __always_inline enum step inner(struct xdp_md *ctx, struct layers *l)
{
	struct decap_address to = { .v6 = l->proto == PROTO_IPV6 };
	void *end = (void *)(long)ctx->data_end, *at = here(ctx, l);
	struct ipv6 *ip6 = at;
	struct ipv4 *ip = at;

	if (l->proto != PROTO_IPIP && l->proto != PROTO_IPV6)
		return leave(l, decap_tunnel == DECAP_IPIP ? DECAP_OTHER : DECAP_STRANGE);
	if ((void *)(ip + 1) > end || (to.v6 && (void *)(ip6 + 1) > end))
		return leave(l, DECAP_SHORT);
	if (ip->version_ihl >> 4 != (to.v6 ? 6 : 4))
		return leave(l, DECAP_STRANGE);
	if (to.v6)
		__builtin_memcpy(to.addr, ip6->dst, sizeof(to.addr));
	else
		to.addr[0] = ip->dst;
	return bpf_map_lookup_elem(&decap_vips, &to) ? NEXT : leave(l, DECAP_NOT_OURS);
}

/* The link header goes in front of the packet that was inside, with its type. */
static __always_inline enum step unpack(struct xdp_md *ctx, struct layers *l)
{
	struct eth *eth = (void *)(long)ctx->data, kept;

	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return leave(l, DECAP_SHORT);
	kept = *eth;
	kept.type = l->proto == PROTO_IPV6 ? be16(ETH_IPV6) : be16(ETH_IPV4);
	if (bpf_xdp_adjust_head(ctx, (l->at & MOST) - sizeof(*eth)))
		return leave(l, DECAP_NO_ROOM);
	eth = (void *)(long)ctx->data;
	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return leave(l, DECAP_NO_ROOM);
	*eth = kept;
	return leave(l, DECAP_UNPACKED);
}

static __always_inline enum step look(struct xdp_md *ctx, struct layers *l)
{
	struct eth *eth = (void *)(long)ctx->data;
	enum step s;

	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return leave(l, DECAP_SHORT);
	l->at = sizeof(*eth);
	if (eth->type == be16(ETH_IPV4))
		s = outer4(ctx, l);
	else if (eth->type == be16(ETH_IPV6))
		s = outer6(ctx, l);
	else
		return leave(l, DECAP_OTHER);
	if (s == DONE || front(ctx, l) == DONE || inner(ctx, l) == DONE)
		return DONE;
	return unpack(ctx, l);
}

SEC("xdp")
int decap(struct xdp_md *ctx)
{
	struct layers l = {};
	__u32 key;
	__u64 *n;

	look(ctx, &l);
	key = l.why;
	n = bpf_map_lookup_elem(&decap_outcomes, &key);
	if (n)
		(*n)++;
	return XDP_PASS;
}

/* Only their BTF is wanted, as of words in lb.bpf.c. */
struct {
	enum decap_outcome decap_outcome;
	enum decap_kind decap_kind;
} words SEC(".words");
