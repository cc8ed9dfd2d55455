/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* config.h: knobs that user space sets before it loads the program; the verifier then takes them for constants. */
#ifndef VIPD_CONFIG_H
#define VIPD_CONFIG_H

#include "headers/bpf.h"

/* Number of regions (a power of two, the size of both region maps) less one. */
const volatile __u32 region_mask = 0;

/* Secret of the connection hash: without it a client could choose ports that share a region. */
const volatile __u64 hash_seed = 0;

/* Made of it by HashFactor in fill.go, and odd: what the last multiplication of the hash is by. */
const volatile __u64 hash_factor = 1;

/* A tick is this power of two of jiffies: about an eighth of a second. */
const volatile __u32 tick_shift = 5;

/* Times that a packet tries for a lock before it is dropped as DROP_BUSY; a holder needs at most a few microseconds. */
const volatile __u32 lock_tries = 1 << 14;

#endif
