/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * proxy.h: a real server of FULLNAT is told who its client is, by the PROXY protocol's version 2 in front of what the client says
 * (haproxy.org/download/3.0/doc/proxy-protocol.txt, 2.2). Nothing is held back, and no connection is ended here: whatever segment
 * begins with the client's first byte carries the header in front of it, also the ACK that ends the handshake and has none, until
 * the real server has acknowledged it. All that comes behind is moved on by the header's size in the sequence numbers that the
 * real server sees, and back in what it acknowledges. So what is lost is sent again by whom it concerns.
 *
 * The client's initial sequence number is learnt where the real server answers the SYN: the connection is the one that it
 * accepted. A connection of which that was not seen is left as it is.
 */
#ifndef VIPD_PROXY_H
#define VIPD_PROXY_H

#include "mss.h"
#include "open.h"

enum {
	PROXY_WORDS = 13,        /* of the larger header: 12 bytes of signature, 4, two addresses, two ports */
	PROXY_FRONT = 192,       /* link, network and transport header, all of which move; more than this is not IPv4's */
	PROXY_COMMAND = 0x21,    /* version 2, PROXY */
	PROXY_TCP4 = 0x11,
	PROXY_TCP6 = 0x21,
	SACK_EDGES = 8,
};

struct proxy_scratch {
	__be32 header[PROXY_WORDS + 1];
	__u8 front[PROXY_FRONT];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct proxy_scratch);
} proxying SEC(".maps");

/* The line that has this key, looked for without the lock; NULL: none. */
static __always_inline struct conn *return_at(struct key *k)
{
	__u32 index = hash_region(k->hash), at;
	struct region *r = bpf_map_lookup_elem(&regions, &index);

	if (!r)
		return NULL;
	at = region_search(r, k) >> 8;
	return at < REGION_LINES ? &r->line[at & (REGION_LINES - 1)] : NULL;
}

static __always_inline __u32 proxy_size(const struct packet *p)
{
	return packet_v6(p) ? 52 : 28;
}

/* The header of a client's packet; the sum of its words. */
static __always_inline __u64 proxy_write(__be32 *to, struct packet *p)
{
	__u32 ends = packet_v6(p) ? 8 : 2;
	__u64 sum = 0;

	to[0] = be32(0x0d0a0d0a);
	to[1] = be32(0x000d0a51);
	to[2] = be32(0x5549540a);
	to[3] = be32(PROXY_COMMAND << 24 | (packet_v6(p) ? PROXY_TCP6 : PROXY_TCP4) << 16 | (ends + 1) * 4);
	for (int i = 0; i < 8; i++)
		to[4 + i] = p->addr[i];
	to[packet_v6(p) ? 12 : 6] = p->ports;
	for (__u32 i = 0; i < PROXY_WORDS; i++)
		if (i < ends + 5)
			sum += to[i];
	return sum;
}

/* What stands in front of the TCP payload moves `size` bytes forward. Says whether there was room. */
static __always_inline int proxy_room(struct xdp_md *ctx, struct proxy_scratch *s, __u32 front, __u32 size)
{
	/* As in csum_step: this bounds last + 1 to 1..PROXY_FRONT. */
	__u32 last = front - 1;

	forget_bounds(last);
	if (last >= PROXY_FRONT || bpf_xdp_load_bytes(ctx, 0, s->front, last + 1))
		return 0;
	if (bpf_xdp_adjust_head(ctx, -(int)size) || bpf_xdp_store_bytes(ctx, 0, s->front, last + 1))
		return 0;
	return !bpf_xdp_store_bytes(ctx, last + 1, s->header, size);
}

/* The IP length grows; what that does to the sum of the pseudo header. `at`: where the network header begins. */
static __always_inline int proxy_grow(void *ip, void *end, int v6, __u32 size)
{
	struct ipv4 *four = ip;
	struct ipv6 *six = ip;
	__be16 length;

	if (v6) {
		if ((void *)(six + 1) > end)
			return 0;
		six->length = be16(be16(six->length) + size);
		return 1;
	}
	if ((void *)(four + 1) > end)
		return 0;
	length = be16(be16(four->length) + size);
	four->check = csum_mend(four->check, csum_change(four->length, length));
	four->length = length;
	return 1;
}

/* The header goes in front of the segment's payload. `at`, `l4`: where network and transport header begin. */
static __noinline enum reason proxy_insert(struct xdp_md *ctx, struct packet *p, __u32 at, __u32 l4, __u32 header)
{
	__u32 zero = 0, size = proxy_size(p);
	struct proxy_scratch *s = bpf_map_lookup_elem(&proxying, &zero);
	struct tcp *tcp;
	void *data, *end;
	__u64 sum;

	if (!s)
		return DROP_NO_ROOM;
	sum = proxy_write(s->header, p);
	if (!proxy_room(ctx, s, l4 + header, size))
		return DROP_NO_ROOM;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	forget_bounds(at);
	forget_bounds(l4);
	tcp = data + (l4 & 1023);
	if ((void *)(tcp + 1) > end || !proxy_grow(data + (at & 31), end, packet_v6(p), size))
		return DROP_NO_ROOM;
	/* RFC 793 3.1: the length of what follows is in the pseudo header. */
	tcp->check = csum_mend(tcp->check, sum + be16(size));
	return p->why;
}

/* No data in a SYN: what says that it may come is taken out (RFC 7413 2), so that nothing is in front of the header. */
static __always_inline void fastopen_refuse(struct xdp_md *ctx, __u32 l4)
{
	__u32 number = option_find(ctx, l4, TCP_OPTION_FASTOPEN);
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct tcp *tcp = data + (l4 & 1023);
	__u8 *option;
	__u32 length;

	forget_bounds(number);
	option = data + (number & 2047);
	if (!number || (void *)(tcp + 1) > end || (void *)(option + 2) > end)
		return;
	length = option[1];
	for (__u32 i = 0; i < 18; i++) { /* a cookie has 16 bytes at most */
		__u16 was;

		if (i >= length || (void *)(option + i + 1) > end)
			return;
		was = option[i];
		option[i] = TCP_OPTION_NOP;
		/* A byte at an even place is the low half of its word, as this machine reads it. */
		tcp->check = csum_mend(tcp->check, (number - l4 + i) & 1 ? csum_change(was << 8, TCP_OPTION_NOP << 8) : csum_change(was, TCP_OPTION_NOP));
	}
}

/*
 * A client's segment, written for its real server but for this. scratch has the key of the line for its replies. `mtu`: of the way
 * there. Global: verified once.
 */
__noinline int proxy_request(struct xdp_md *ctx, struct packet *p, __u32 at, __u32 l4, __u32 mtu)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 zero = 0, behind, state;
	struct key *k = bpf_map_lookup_elem(&scratch, &zero);
	struct conn *back;
	struct tcp *tcp;
	__be32 seq;

	if (!p || !k || at > MAX_LINK || l4 > 1023)
		return DROP_NO_ROOM;
	if (packet_proto(p) != PROTO_TCP)
		return p->why;
	forget_bounds(l4);
	tcp = data + (l4 & 1023);
	if ((void *)(tcp + 1) > end)
		return DROP_NO_ROOM;
	if (tcp->flags & TCP_SYN) {
		fastopen_refuse(ctx, l4 & 1023);
		return p->why;
	}
	back = return_at(k);
	state = back ? life_state(READ_ONCE(back->life)) : PROXY_NONE;
	if (!back || state == PROXY_NONE)
		return p->why;
	behind = be32(tcp->seq) - READ_ONCE(back->real) - 1;
	if ((__s32)behind < 0)
		return p->why;
	if (!behind && state == PROXY_DUE && !(tcp->flags & TCP_RST)) {
		if (mtu && p->length + proxy_size(p) > mtu)
			return DROP_TOO_BIG;
		if (tcp->offset >> 4 < sizeof(*tcp) / 4)
			return DROP_NO_ROOM; /* its payload would begin within its header, and the PROXY header too */
		return proxy_insert(ctx, p, at, l4, (tcp->offset >> 4) * 4);
	}
	seq = be32(be32(tcp->seq) + proxy_size(p));
	tcp->check = csum_mend(tcp->check, csum_change(tcp->seq, seq));
	tcp->seq = seq;
	return p->why;
}

/* What has arrived out of order is told by sequence numbers too (RFC 2018 3). */
static __always_inline void sack_back(struct xdp_md *ctx, __u32 at, __u32 size)
{
	__u32 number = option_find(ctx, at, TCP_OPTION_SACK);
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct tcp *tcp = data + (at & 1023);
	__u8 *option;
	__u32 length;

	forget_bounds(number);
	option = data + (number & 2047);
	if (!number || (void *)(tcp + 1) > end || (void *)(option + 2) > end)
		return;
	length = option[1];
	for (__u32 i = 0; i < SACK_EDGES; i++) {
		__be32 *edge = (void *)option + 2 + 4 * i, is;
		__u64 change;

		if (2 + 4 * i + 4 > length || (void *)(edge + 1) > end)
			return;
		is = be32(be32(load32(edge)) - size);
		change = csum_change(load32(edge), is);
		if ((number - at) & 1)
			change = __builtin_bswap16(csum_fold(change));
		*edge = is;
		tcp->check = csum_mend(tcp->check, change);
	}
}

/* The real server has answered the SYN. The client is to send so much less in a segment that the header fits in front. */
static __always_inline void proxy_begin(struct xdp_md *ctx, struct conn *back, __u32 isn, __u32 at, __u32 size)
{
	__u64 life = READ_ONCE(back->life);
	__u32 number = option_find(ctx, at, TCP_OPTION_MSS), most;
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u8 *option;

	if (life_state(life) == PROXY_NONE || READ_ONCE(back->real) != isn) {
		WRITE_ONCE(back->real, isn);
		__sync_val_compare_and_swap(&back->life, life, life_make(life, life_flags(life), PROXY_DUE));
	}
	forget_bounds(number);
	option = data + (number & 2047);
	if (!number || (void *)(option + 4) > end)
		return;
	most = option[2] << 8 | option[3];
	mss_clamp(ctx, at, most > size ? most - size : most);
}

/* A segment from the real server, written for the client but for this. p->parent: its return line plus 1. Global: verified once. */
__noinline int proxy_reply(struct xdp_md *ctx, struct packet *p, __u32 at)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct conn *back = p ? conn_at(p->parent - 1) : NULL;
	__u32 size, ahead, isn;
	struct tcp *tcp;
	__be32 ack;
	__u64 life;

	if (!p || !back || at > 1023)
		return 0;
	size = proxy_size(p);
	forget_bounds(at);
	tcp = data + (at & 1023);
	if ((void *)(tcp + 1) > end || !(tcp->flags & TCP_ACK))
		return 0;
	if (tcp->flags & TCP_SYN) {
		proxy_begin(ctx, back, be32(tcp->ack) - 1, at & 1023, size);
		return 1;
	}
	life = READ_ONCE(back->life);
	isn = READ_ONCE(back->real);
	ahead = be32(tcp->ack) - isn - 1;
	if (life_state(life) == PROXY_NONE || (__s32)ahead <= 0)
		return 0;
	if (ahead >= size && life_state(life) == PROXY_DUE)
		__sync_val_compare_and_swap(&back->life, life, life_make(life, life_flags(life), PROXY_DONE));
	ack = be32(be32(tcp->ack) - (ahead < size ? ahead : size));
	tcp->check = csum_mend(tcp->check, csum_change(tcp->ack, ack));
	tcp->ack = ack;
	sack_back(ctx, at & 1023, size);
	return 1;
}

#endif
