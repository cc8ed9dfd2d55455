/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * fragment.h: where the rest of a datagram goes. Ports are in its first fragment alone, so that one's real server is
 * remembered for the others; of a NAT real server's reply what its first fragment became. IPVS puts datagrams together and
 * forwards what comes out; here the receiver does.
 */
#ifndef VIPD_FRAGMENT_H
#define VIPD_FRAGMENT_H

#include "conn.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct fragment_key);
	__type(value, struct fragment);
} fragments SEC(".maps");

enum { FRAGMENT_TICKS = 30 * 8 };  /* the host's own time for putting them together is 30 s */

static __always_inline struct fragment_key fragment_key_of(struct frame *f, struct packet *p)
{
	struct fragment_key k = { .id = f->id, .proto = packet_proto(p) };

	if (packet_v6(p)) {
		__builtin_memcpy(k.addr, p->addr, sizeof(k.addr));
		k.proto = 0; /* the first fragment's next header may not be that of the others */
	} else {
		k.addr[0] = p->ends;
		k.addr[4] = p->ends >> 32;
	}
	return k;
}

static __noinline void fragment_keep(struct frame *f, struct packet *p)
{
	struct fragment_key k = fragment_key_of(f, p);
	struct fragment value = { .real = p->real, .tick = p->tick };

	bpf_map_update_elem(&fragments, &k, &value, 0);
}

/* Of a reply, if the address of its client may be a service's by the filter: the way back is another road's. */
static __noinline enum reason fragment_find(struct frame *f, struct packet *p)
{
	struct fragment_key k = fragment_key_of(f, p);
	struct fragment *first = bpf_map_lookup_elem(&fragments, &k);

	if (!first || p->tick - first->tick > FRAGMENT_TICKS)
		return PASS_FRAGMENT;
	if (first->hop)
		return PASS_NOT_SERVICE;
	p->real = first->real;
	return FORWARD_FRAGMENT;
}

/* Of a reply: who sent it, the virtual address that it comes from now, and the way to the client. */
struct whence {
	__u32 real, tick;
	__u64 hop;
	__be32 virt[4], client[4];
};

static __noinline void fragment_keep_reply(struct fragment_key *k, struct whence *w)
{
	struct fragment value = { .real = w->real, .tick = w->tick, .hop = w->hop };

	__builtin_memcpy(value.virt, w->virt, sizeof(value.virt));
	__builtin_memcpy(value.client, w->client, sizeof(value.client));
	bpf_map_update_elem(&fragments, k, &value, 0);
}

/* NULL: its first fragment was not seen, or was no reply. */
static __always_inline struct fragment *fragment_of_reply(struct fragment_key *k, __u32 tick)
{
	struct fragment *first = bpf_map_lookup_elem(&fragments, k);

	return first && first->hop && tick - first->tick <= FRAGMENT_TICKS ? first : NULL;
}

#endif
