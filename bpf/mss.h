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
 * The option that begins o bytes into the TCP header that begins `at` bytes into the frame: kind and, above, length; 0: none, for
 * the header ends here, or what it says is no length. Global: verified once, and not for each place that it may have.
 */
__noinline __u32 option_at(struct xdp_md *ctx, __u32 at, __u32 o)
{
	struct tcp *tcp = (void *)(long)ctx->data + (at & 1023);
	void *end = (void *)(long)ctx->data_end;
	__u32 header, length;
	__u8 *option;

	if ((void *)(tcp + 1) > end)
		return 0;
	header = (tcp->offset >> 4) * 4;
	forget_bounds(o);
	o &= 63;
	option = (void *)tcp + o;
	if (o + 2 > header || (void *)(option + 2) > end || option[0] == TCP_OPTION_END)
		return 0;
	length = option[0] == TCP_OPTION_NOP ? 1 : option[1];
	if ((option[0] != TCP_OPTION_NOP && length < 2) || o + length > header)
		return 0;
	return option[0] | length << 8;
}

/* Where in the frame the option of this kind begins; 0: there is none. Its length fits into the header. */
__noinline __u32 option_find(struct xdp_md *ctx, __u32 at, __u32 kind)
{
	__u32 o = sizeof(struct tcp), option;

	for (int i = 0; i < TCP_OPTIONS; i++) {
		option = option_at(ctx, at, o);
		if (!option)
			return 0;
		if ((option & 0xff) == kind)
			return (at & 1023) + o;
		o += option >> 8;
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
