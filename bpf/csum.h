/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* csum.h: the Internet checksum (RFC 1071) over what lies in the frame. */
#ifndef VIPD_CSUM_H
#define VIPD_CSUM_H

#include "headers/net.h"

/* Sum of the 16-bit words from `at`, at most `words` and none behind `end`, folded and complemented. */
static __always_inline __u16 csum(void *at, void *end, __u32 words)
{
	__u16 *word = at;
	__u32 sum = 0;

	for (__u32 i = 0; i < words; i++) {
		if ((void *)(word + i + 1) > end)
			break;
		sum += word[i];
	}
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

#endif
