/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * nat.h: masquerading (NAT). Here the way to the real server: its address and port take the place of the virtual ones.
 * reply.h is the way back.
 */
#ifndef VIPD_NAT_H
#define VIPD_NAT_H

#include "direct.h"
#include "crc32c.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct client_key);
	__type(value, struct client);
} clients6 SEC(".maps");

/* By address, whom clients6 knew a moment ago, and by which hop. Of one process: it is not pinned. */
enum { RECENT_BITS = 12, RECENT_TICKS_BITS = 3 };
__u64 recent_clients[1 << RECENT_BITS];

/*
 * By whom the first packet of a connection came: the way back where the routes know no better. A look costs a third of an update,
 * and most clients are known.
 */
static __always_inline void client_learn(__u64 hop, const void *client)
{
	struct client value = { .hop = hop }, *known = bpf_map_lookup_elem(&clients6, client);

	if (!known) {
		bpf_map_update_elem(&clients6, client, &value, 0);
	} else if (READ_ONCE(known->hop) != value.hop) {
		WRITE_ONCE(known->hop, value.hop);
		WRITE_ONCE(known->tick, 0); /* the routes are asked again */
		WRITE_ONCE(known->mtu, 0);
	}
}

/*
 * The same for a packet of a client that may have come a moment ago: most open several connections at once, and a look into an LRU
 * costs a fifth of a first packet. A mark holds for two seconds at most, so that what happened to the entry meanwhile is made good then.
 */
static __always_inline void client_comes(struct packet *p)
{
	__u64 h = hash_mix(hash_mix(hash_seed, word(p->addr, 0)), word(p->addr, 1));
	__u64 *recent = &recent_clients[h >> (64 - RECENT_BITS)], mark = hash_mix(h, p->hop) ^ (p->tick >> RECENT_TICKS_BITS);

	if (likely(READ_ONCE(*recent) == mark))
		return;
	client_learn(p->hop, p->addr);
	WRITE_ONCE(*recent, mark);
}

/* A datagram without a checksum goes on without one; of the two zeros the one that is a checksum is all ones (RFC 768). */
static __always_inline void check_mend(__u16 *check, __u8 proto, __u64 change)
{
	__u16 mended;

	if (proto == PROTO_UDP && !*check)
		return;
	mended = csum_mend(*check, change);
	*check = proto == PROTO_UDP && !mended ? 0xffff : mended;
}

/*
 * The transport header's ports become `ports` (both, as they lie there), of a packet whose pseudo header changed by `change`.
 * `size`: from here to the packet's end. Says whether all that has to be written could be read.
 */
static __always_inline int ports_write(void *l4, void *end, __u8 proto, __u32 ports, __u64 change, __u32 size)
{
	__u32 *at = l4;
	__u16 *check;

	/* A length for each, behind its own question: the verifier of 6.1 does not know a protocol that it has not seen asked. */
	if (proto == PROTO_SCTP) {
		struct sctp *sctp = l4;

		if ((void *)(sctp + 1) > end)
			return 0;
		/* RFC 9260 3.1: no pseudo header, so without a change of ports there is nothing to mend. */
		if (*at != ports)
			sctp->check ^= crc32c_behind(*at ^ ports, size);
		*at = ports;
		return 1;
	}
	if (proto == PROTO_TCP) {
		if (l4 + sizeof(struct tcp) > end)
			return 0;
		check = &((struct tcp *)l4)->check;
	} else {
		if (l4 + sizeof(struct udp) > end)
			return 0;
		check = &((struct udp *)l4)->check;
	}
	check_mend(check, proto, change + csum_change(*at, ports));
	*at = ports;
	return 1;
}

/*
 * Static and not inline: its registers are its own, and those of direct routing stay where they are. `at`: where the network
 * header begins.
 */
static __noinline enum reason nat_request(struct xdp_md *ctx, struct real *r, __u32 at, __be16 vport, enum reason why)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end, *l4;
	struct ipv4 *ip = data + at;
	struct packet p = { .why = why };
	__u64 change;

	if (at > MAX_LINK || data + sizeof(struct eth) > end || (void *)(ip + 1) > end)
		return DROP_NO_ROOM;
	p.length = be16(ip->length);
	if (depart(ip, r, &p, 0) == DONE)
		return p.why == PASS_LOCAL && r->port && r->port != vport ? DROP_LOCAL_NAT : p.why;
	change = csum_change(ip->dst, r->addr[0]);
	ip->check = csum_mend(ip->check, change);
	ip->dst = r->addr[0];
	l4 = (void *)ip + (ip->version_ihl & 15) * 4;
	if (likely(!(ip->frag & be16(IP_OFFSET)))) {
		__u32 *ports = l4;

		if ((void *)(ports + 1) > end)
			return DROP_NO_ROOM;
		if (!ports_write(l4, end, ip->proto, r->port ? (*ports & 0xffff) | (__u32)r->port << 16 : *ports, change,
				 p.length - (ip->version_ihl & 15) * 4))
			return DROP_NO_ROOM;
	}
	eth_write(data, r);
	return why;
}

/* Where nat_request6 finds things, in one argument: the network header, the transport header behind it, and whether there is
 * one. */
static __always_inline __u32 nat6_where(struct frame *f)
{
	return f->at | f->header << 8 | (f->piece == LATER_FRAGMENT) << 31;
}

/* The same for IPv6. Global: verified once. Its addresses are those of p, which is a client's packet. */
__noinline int nat_request6(struct xdp_md *ctx, struct real *r, struct packet *p, __u32 where)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end, *l4;
	__u32 header = where >> 8 & 1023;
	__u64 change;
	struct ipv6 *ip;
	__u32 *ports;

	if (!r || !p || data + sizeof(struct eth) > end)
		return DROP_NO_ROOM;
	forget_bounds(where);
	ip = data + (where & 31);
	if ((void *)(ip + 1) > end)
		return DROP_NO_ROOM;
	if (depart6(ip, r, p, 0) == DONE)
		return p->why == PASS_LOCAL && r->port && r->port != packet_vport(p) ? DROP_LOCAL_NAT : p->why;
	change = csum_change6(ip->dst, r->addr);
	__builtin_memcpy(ip->dst, r->addr, sizeof(ip->dst));
	l4 = (void *)ip + header;
	ports = l4;
	if (!(where >> 31)) {
		if ((void *)(ports + 1) > end)
			return DROP_NO_ROOM;
		if (!ports_write(l4, end, packet_proto(p), r->port ? (*ports & 0xffff) | (__u32)r->port << 16 : *ports, change,
				 p->length - header))
			return DROP_NO_ROOM;
	}
	eth_write(data, r);
	return p->why;
}

#endif
