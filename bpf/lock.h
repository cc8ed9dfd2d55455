/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * lock.h: a word that is 1 while somebody holds it. bpf_spin_lock will not do: nothing may be called while it is held, and a
 * server is picked under a region's lock. Order: region, then pool; never two of a kind.
 *
 * Holders run with softirqs off (XDP, the timer's callback, BPF_PROG_TEST_RUN since 6.11), so on its own CPU nobody waits
 * for one that cannot go on. A virtual CPU may still be taken away under a lock: whoever waits gives up after lock_tries.
 */
#ifndef VIPD_LOCK_H
#define VIPD_LOCK_H

#include "headers/bpf.h"
#include "config.h"

struct waiting {
	__u32 *word;
	__u32 had;
};

static int lock_try(__u32 i, struct waiting *w)
{
	/* Look before the atomic: it takes the line away from the holder. */
	if (READ_ONCE(*w->word) || __sync_val_compare_and_swap(w->word, 0, 1))
		return 0;
	w->had = 1;
	return 1;
}

static __always_inline int lock(__u32 *word)
{
	struct waiting w = { .word = word };

	if (!__sync_val_compare_and_swap(word, 0, 1))
		return 1;
	bpf_loop(lock_tries, lock_try, &w, 0);
	return w.had;
}

static __always_inline void unlock(__u32 *word)
{
	WRITE_LAST(*word, 0);
}

#endif
