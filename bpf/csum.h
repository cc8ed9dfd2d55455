/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* csum.h: the Internet checksum (RFC 1071): over what lies in the frame, and mended where words of it change (RFC 1624). */
#ifndef VIPD_CSUM_H
#define VIPD_CSUM_H

#include "headers/net.h"

/*
 * Of a sum below 0xffff << 32, which is more than 64 KiB in words of 32 bits. The first addition leaves at most 1 << 32 and less
 * than 0xffff, the second at most 0x1fffe, so that the third has no carry.
 */
static __always_inline __u16 csum_fold(__u64 sum)
{
	__u32 low = sum;

	__asm__ volatile("" : "+w"(low)); /* else clang shifts the rest out and back in */
	sum = low + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Of a header without options, whose own checksum is 0. */
static __always_inline __u16 csum_header(const struct ipv4 *ip)
{
	const __u32 *word = (const void *)ip;

	__asm__ volatile("" : : : "memory"); /* it was written by halves of these words, which clang takes for other memory */
	return ~csum_fold((__u64)word[0] + word[1] + word[2] + word[3] + word[4]);
}

/* What takes a word out of a sum. */
static __always_inline __u64 csum_less(__u32 word)
{
	return (__u32)~word;
}

/* What a checksum has to take in when a word of what it covers becomes another. */
static __always_inline __u64 csum_change(__u32 from, __u32 to)
{
	return csum_less(from) + to;
}

/* When an IPv6 address becomes another. */
static __always_inline __u64 csum_change6(const __be32 *from, const __be32 *to)
{
	return csum_change(from[0], to[0]) + csum_change(from[1], to[1]) + csum_change(from[2], to[2]) + csum_change(from[3], to[3]);
}

/* RFC 1624, equation 3. */
static __always_inline __u16 csum_mend(__u16 check, __u64 change)
{
	return ~csum_fold(change + (__u16)~check);
}

/* Of an IPv6 address. */
static __always_inline __u64 csum_add6(const __be32 *addr)
{
	return (__u64)addr[0] + addr[1] + addr[2] + addr[3];
}

/* ---- over any length, also of frames that are larger than a page ------------------------------------------------------ */

enum { CSUM_CHUNK = 64 };

struct csum_walk {
	struct xdp_md *ctx;
	__u32 at, left;
	__u64 sum;
};

static int csum_step(__u32 i, struct csum_walk *w)
{
	__u32 n = w->left < CSUM_CHUNK ? w->left : CSUM_CHUNK;
	__u64 chunk[CSUM_CHUNK / 8] = {};

	/* The verifier of 6.1 learns from "greater than" and not from "is not 0": this bounds last + 1 to 1..CSUM_CHUNK. */
	__u32 last = n - 1;
	asm volatile("" : "+r"(last));
	if (last >= CSUM_CHUNK || bpf_xdp_load_bytes(w->ctx, w->at, chunk, last + 1))
		return 1;
	for (int j = 0; j < CSUM_CHUNK / 8; j++)
		w->sum += (chunk[j] & 0xffffffff) + (chunk[j] >> 32);
	w->at += CSUM_CHUNK;
	w->left -= n;
	return !w->left;
}

/* Folded, not complemented. */
static __noinline __u16 csum_bytes(struct xdp_md *ctx, __u32 at, __u32 length)
{
	struct csum_walk w = { .ctx = ctx, .at = at, .left = length };

	bpf_loop(65536 / CSUM_CHUNK, csum_step, &w, 0);
	return csum_fold(w.sum);
}

#endif
