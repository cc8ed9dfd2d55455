//go:build ignore

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bench.bpf.c: the packet path behind a generator of frames, for measuring and for races. BPF_PROG_TEST_RUN repeats a
 * program on one frame and leaves in it what the last run wrote, so each run first makes it the next client's frame. Not
 * part of what is shipped.
 */
#define WITHOUT_LB /* bench_path is one copy of the path, and a file here may be no larger than 1 MiB */
#include "lb.bpf.c"

__u32 turn;
__u32 flows = 1;             /* clients, a power of two */
__u32 base;                  /* number of the first */
__u32 six;                   /* 1: their packets are IPv6's */
__be32 to[4];                /* where they send, for what rewrites it; IPv4 in the first word */
__be16 to_port = 0;
__u32 size;                  /* of a frame */
__u32 made;                  /* 1: none is made, they come as they are */
__u32 longer;                /* bytes that the path puts in front of each, */
__u32 grown;                 /* and how many of them are there when they are taken off again */
__u64 begins[2];             /* what is the same in all of them, if they are put elsewhere: the first words of the IP header, */
__u32 offset_flags;          /* and the word of TCP's flags */

/*
 * The frame of client n, as it came from the wire. NULL if it is not the one that the test sends. Stores are as wide as the
 * loads that follow: a narrower one would stall them, as no network card does.
 */
static __always_inline struct eth *frame_of(struct xdp_md *ctx, __u32 n)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct eth *eth = data;
	struct ipv4 *ip = (void *)(eth + 1);
	struct tcp *tcp = (void *)(ip + 1);

	if ((void *)(tcp + 1) > end)
		return NULL;
	store64(eth->dst, 0x0002010000000002); /* to 02:00:00:00:00:01, from another */
	eth->type = be16(ETH_IPV4);
	if (longer) {
		store64(ip, begins[0]);
		*(any32 *)&tcp->offset = offset_flags;
	}
	*(any32 *)&ip->ttl = 64 | PROTO_TCP << 8; /* and no checksum, which nobody looks at */
	store64(&ip->src, be32(0x0a320000 + (n >> 8)) | (__u64)to[0] << 32);
	*(__u32 *)&tcp->sport = be16(1024 + (n & 255)) | (__u32)to_port << 16;
	return eth;
}

static __always_inline struct eth *frame_of6(struct xdp_md *ctx, __u32 n)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct eth *eth = data;
	struct ipv6 *ip = (void *)(eth + 1);
	struct tcp *tcp = (void *)(ip + 1);

	if ((void *)(tcp + 1) > end)
		return NULL;
	store64(eth->dst, 0x0002010000000002);
	eth->type = be16(ETH_IPV6);
	if (longer) {
		store64(ip, begins[0]);
		store64(ip->src, begins[1]);
		*(any32 *)&tcp->offset = offset_flags;
	}
	ip->hop_limit = 64;
	store64(&ip->src[2], (__u64)be32(n >> 8) << 32);
	store64(&ip->dst[0], to[0] | (__u64)to[1] << 32);
	store64(&ip->dst[2], to[2] | (__u64)to[3] << 32);
	*(__u32 *)&tcp->sport = be16(1024 + (n & 255)) | (__u32)to_port << 16;
	return eth;
}

static __always_inline struct eth *next_frame(struct xdp_md *ctx)
{
	__u32 n = base + (turn++ & (flows - 1));

	if (longer && ctx->data_end - ctx->data >= size + grown)
		bpf_xdp_adjust_head(ctx, ctx->data_end - ctx->data - size);
	return six ? frame_of6(ctx, n) : frame_of(ctx, n);
}

/* What the generator itself costs; with `longer` also what it costs to put so many bytes in front, and to take them off at times. */
SEC("xdp.frags")
int bench_empty(struct xdp_md *ctx)
{
	if (!next_frame(ctx))
		return XDP_ABORTED;
	if (longer)
		bpf_xdp_adjust_head(ctx, -(int)longer);
	return XDP_DROP;
}

/* The least that a forwarder can do: look that it is IP, swap the MACs, send it back. */
SEC("xdp.frags")
int bench_floor(struct xdp_md *ctx)
{
	struct eth *eth = next_frame(ctx);
	__u8 mac[6];

	if (!eth || (eth->type != be16(ETH_IPV4) && eth->type != be16(ETH_IPV6)))
		return XDP_ABORTED;
	__builtin_memcpy(mac, eth->dst, 6);
	__builtin_memcpy(eth->dst, eth->src, 6);
	__builtin_memcpy(eth->src, mac, 6);
	return XDP_TX;
}

SEC("xdp.frags")
int bench_path(struct xdp_md *ctx)
{
	return made || next_frame(ctx) ? balance(ctx) : XDP_ABORTED;
}

/* ---- frames that live: BPF_F_TEST_XDP_LIVE_FRAMES sends them out of an interface ------------------------------------- */

__u32 out;                   /* that interface; 0: none, which shows what the generator costs */

/* A page is used again with what was written to it the last time, so the header's checksum is made anew. */
SEC("xdp.frags")
int bench_source(struct xdp_md *ctx)
{
	struct eth *eth = next_frame(ctx);
	struct ipv4 *ip = (void *)(eth + 1);

	if (!eth)
		return XDP_ABORTED;
	ip->check = 0;
	ip->check = csum_header(ip);
	return out ? bpf_redirect(out, 0) : XDP_DROP;
}

SEC("xdp.frags")
int bench_sink(struct xdp_md *ctx)
{
	return XDP_DROP;
}

/* The packet path itself, for race_path: bench_path, told that the frame is made. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} race_on SEC(".maps");

/* Any client, any flags: what CPUs do to each other when nothing else holds them up. Frames stay as long as they are. */
SEC("xdp.frags")
int race_path(struct xdp_md *ctx)
{
	static const __u8 flags[8] = { TCP_SYN, TCP_SYN, TCP_SYN, TCP_ACK, TCP_ACK, TCP_FIN, TCP_RST, TCP_RST };
	__u32 dice = bpf_get_prandom_u32();
	struct eth *eth = frame_of(ctx, dice & (flows - 1));
	struct tcp *tcp = (void *)eth + sizeof(*eth) + sizeof(struct ipv4);

	if (!eth)
		return XDP_ABORTED;
	tcp->flags = flags[dice >> 29];
	bpf_tail_call(ctx, &race_on, 0);
	return XDP_ABORTED;
}
