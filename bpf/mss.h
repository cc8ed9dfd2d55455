/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * mss.h: no segment is larger than fits. What a SYN, or the SYN with ACK that answers it, says of the largest segment that
 * its sender takes (RFC 9293 3.7.1) becomes at most real.mss. One that says nothing takes 536, which is small enough.
 */
#ifndef VIPD_MSS_H
#define VIPD_MSS_H

#include "csum.h"

enum { TCP_OPTION_END = 0, TCP_OPTION_NOP = 1, TCP_OPTION_MSS = 2, TCP_OPTION_SACK = 5, TCP_OPTION_FASTOPEN = 34, TCP_OPTIONS = 40 };

/*
 * Where in the frame an option begins, of a TCP header that begins `at` bytes into it; 0: there is none. Its length fits into the
 * header. Global: verified once.
 */
__noinline __u32 option_find(struct xdp_md *ctx, __u32 at, __u32 kind)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct tcp *tcp;
	__u32 header, any, o = sizeof(*tcp);

	forget_bounds(at);
	at &= 1023;
	tcp = data + at;
	if ((void *)(tcp + 1) > end)
		return 0;
	header = (tcp->offset >> 4) * 4;
	any = tcp->window;
	for (int i = 0; i < TCP_OPTIONS; i++) {
		__u8 *option;

		/* So that the verifier knows of o the same, which is nothing, whatever the way to get here was. */
		o += any;
		forget_bounds(o);
		o = (o - any) & 63;
		forget_bounds(o);
		option = (void *)tcp + o;
		if (o + 2 > header || (void *)(option + 2) > end || option[0] == TCP_OPTION_END)
			return 0;
		if (option[0] == kind)
			return o + option[1] <= header ? at + o : 0;
		o += option[0] == TCP_OPTION_NOP ? 1 : option[1];
		if ((option[0] != TCP_OPTION_NOP && option[1] < 2) || o + 2 > header)
			return 0;
	}
	return 0;
}

/* Makes the largest segment that is told at most that. Global: verified once. */
__noinline int mss_clamp(struct xdp_md *ctx, __u32 at, __u32 most)
{
	void *data, *end;
	struct tcp *tcp;
	__u16 was, is;
	__u32 number;
	__u8 *option, *mss;

	if (at > 1023)
		return 0;
	forget_bounds(at);
	at &= 1023;
	number = option_find(ctx, at, TCP_OPTION_MSS);
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	tcp = data + at;
	forget_bounds(number);
	option = data + (number & 2047);
	mss = option + 2;
	if (!number || (void *)(tcp + 1) > end || (void *)(mss + 2) > end || option[1] != 4 || (__u32)(mss[0] << 8 | mss[1]) <= most)
		return 0;
	was = load16(mss);
	mss[0] = most >> 8;
	mss[1] = most;
	is = load16(mss);
	if ((number - at) & 1) { /* it lies across two words of the checksum */
		was = __builtin_bswap16(was);
		is = __builtin_bswap16(is);
	}
	tcp->check = csum_mend(tcp->check, (__u64)(__u16)~was + is);
	return 1;
}

#endif
