/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * peer.h: several directors that are real servers of their services too. What another one has balanced to us is for our own
 * host: we must not balance it again, to and fro until its TTL ends.
 */
#ifndef VIPD_PEER_H
#define VIPD_PEER_H

#include "packet.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct peer_key);
	__type(value, __u32);
} peers SEC(".maps");

/*
 * Did another director choose us, of a service with directors among its real servers? What it sends from its own address is its own traffic, as any client's. And what it sends
 * for a service that no director is a real server of, it has merely routed. By this no packet goes in circles: a director
 * gives another only what nobody has given it, as that other is a real server of the service.
 */
static __always_inline int from_director(struct packet *p)
{
	struct peer_key key = { .v6 = !!packet_v6(p) };

	__builtin_memcpy(key.mac, &p->hop, sizeof(key.mac)); /* hop_make's lower bytes: the station that it came from */
	if (!bpf_map_lookup_elem(&peers, &key))
		return 0;
	for (int i = 0; i < 4; i++)
		if (!i || packet_v6(p))
			key.addr[i] = p->addr[i];
	return !bpf_map_lookup_elem(&peers, &key);
}

/* Does it come from the station that it would go to? */
static __always_inline int sent_by(struct frame *f, struct real *r)
{
	return load32(f->eth->src) == load32(r->dst) && load16(f->eth->src + 4) == load16(r->dst + 4);
}

#endif
