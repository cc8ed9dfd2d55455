/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * crc32c.h: SCTP's checksum (RFC 9260, appendix A) mended where its first word changes. A CRC is linear: what a changed word
 * adds is the CRC of that word alone, with as many zero bytes behind it as there are. A zero byte multiplies by x^8 modulo the
 * polynomial, so n of them take one multiplication for each bit of n, and the payload is not read.
 */
#ifndef VIPD_CRC32C_H
#define VIPD_CRC32C_H

#include "headers/bpf.h"

enum { CRC32C = 0x82f63b78, CRC_SIZES = 16 }; /* the polynomial, lowest power in the highest bit */

/* x^(8 * 2^k) modulo the polynomial. */
static const __u32 crc_zeros[CRC_SIZES] = {
	0x00800000, 0x00008000, 0x82f63b78, 0x6ea2d55c, 0x18b8ea18, 0x510ac59a, 0xb82be955, 0xb8fdb1e7,
	0x88e56f72, 0x74c360a4, 0xe4172b16, 0x0d65762a, 0x35d73a62, 0x28461564, 0xbf455269, 0xe2ea32dc,
};

/* Global: its rounds are verified once, and not for each bit of each length. */
__noinline __u32 crc_times(__u32 a, __u32 b)
{
	__u32 product = 0;

	for (int i = 0; i < 32; i++) {
		product ^= b & -(a >> 31);
		a <<= 1;
		b = b >> 1 ^ (CRC32C & -(b & 1));
	}
	return product;
}

/*
 * What the checksum of `size` bytes takes in (by exclusive or, as it lies in the frame) when their first word does. Global:
 * verified once.
 */
__noinline __u32 crc32c_behind(__u32 change, __u32 size)
{
	__u32 crc = change;

	for (int k = 0; k < CRC_SIZES; k++)
		if (size >> k & 1)
			crc = crc_times(crc_zeros[k], crc);
	return crc;
}

#endif
