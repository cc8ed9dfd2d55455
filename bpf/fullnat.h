/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * fullnat.h: masquerading with a source of ours too (FULLNAT), for real servers whose routes nobody may touch: they see one of
 * this host's addresses as their client, and answer it. A request's source becomes an address of real.source on (real.locals of
 * them) and a port that no other connection to this server has there; both stand in the connection's line.
 *
 * Replies name neither the client nor the virtual address. They are found by a line of their own (KIND_RETURN), which has the
 * local and the server's end as its key, and says which line the connection is. It has no life of its own: it ends when that
 * connection has ended, and is taken for ended as soon as the connection's line has another generation.
 */
#ifndef VIPD_FULLNAT_H
#define VIPD_FULLNAT_H

#include "icmp.h"
#include "open.h"
#include "reply.h"
#include "vlan.h"

/* Below the ports that Linux gives to its own connections (ip_local_port_range begins with 32768): a health check from the same
 * address is never mistaken for a connection. */
enum { LOCAL_FIRST_PORT = 1024, LOCAL_PORTS = 31744, LOCAL_TRIES = 16 };

static __always_inline __u64 *local_of(struct conn *c)
{
	return (void *)&c->addr[SPARE_LOCAL];
}

/* With the line's generation, or as much of it as there is room for: what is left of an earlier connection is none. */
static __always_inline __u64 local_make(__be32 addr, __be16 port, __u64 life)
{
	return addr | (__u64)port << 32 | (life >> 32) << 48;
}

static __always_inline __u64 local_read(struct conn *c)
{
	__u64 local = READ_ONCE(*local_of(c)), life = READ_ONCE(c->life);

	return local >> 48 == (life >> 32 & 0xffff) ? local : 0;
}

/* Takes a line for the replies to this local end, of which k is the key; 0: another connection has it, or there is no room. */
static __always_inline int return_take_locked(struct region *r, struct region_head *head, struct key *k, __u32 line, struct conn *c,
					      __u64 owner)
{
	struct place at = region_place(r, k);
	struct conn *back;
	__u64 life;

	if (at.found < REGION_LINES) {
		back = &r->line[at.found & (REGION_LINES - 1)];
		if (return_conn(back, &life))
			return 0;
		at.free = at.found;
	}
	if (at.free >= REGION_LINES)
		return 0;
	back = &r->line[at.free & (REGION_LINES - 1)];
	if (!conn_clear(back, head))
		return 0;
	__builtin_memcpy(back->addr, k->addr, sizeof(back->addr));
	*(__u64 *)(void *)&back->cport = k->ports;
	back->addr[RETURN_LINE] = line;
	back->addr[RETURN_GENERATION] = owner >> 32;
	back->expires = k->tick; /* due at once: it lives by its connection */
	back->real = c->real;
	back->packets = 0;
	back->control = 0;
	head->live++;
	__sync_lock_test_and_set(&back->life, life_make(back->life + (1ull << 32), CONN_INACTIVE, TCP_NONE));
	return 1;
}

static __always_inline int return_take(struct key *k, __u32 line, struct conn *c, __u64 life)
{
	__u32 index = hash_region(k->hash);
	struct region *r = bpf_map_lookup_elem(&regions, &index);
	struct region_head *head = bpf_map_lookup_elem(&region_heads, &index);
	int taken;

	if (!r || !head || !lock(&head->lock))
		return 0;
	taken = return_take_locked(r, head, k, line, c, life);
	unlock(&head->lock);
	return taken;
}

/* One try: a local address and port by chance. */
static __noinline __u64 local_try(struct key *k, struct real *r, struct conn *c, __u32 line)
{
	__u32 chance = bpf_get_prandom_u32();
	__u64 life = READ_ONCE(c->life);
	__be32 addr = be32(be32(r->source[0]) + (chance >> 16) % (r->locals | !r->locals));
	__be16 port = be16(LOCAL_FIRST_PORT + (chance & 0xffff) % LOCAL_PORTS), rport = r->port ? r->port : c->vport;

	k->addr[0] = addr;
	k->addr[1] = r->addr[0];
	k->ports = port | (__u64)rport << 16 | (__u64)c->proto << 32 | (__u64)KIND_RETURN << 40;
	k->hash = conn_hash(addr, k->ports);
	return return_take(k, line, c, life) ? local_make(addr, port, life) : 0;
}

/*
 * The local end of a connection, which is chosen when it is first needed. Another CPU may choose at the same time: the first
 * one's choice holds, and the other's line leads to a connection that does not know it. 0: there was none to be had.
 */
__noinline __u64 local_get(struct packet *p, __u32 line)
{
	__u32 zero = 0;
	struct key *k = bpf_map_lookup_elem(&scratch, &zero);
	struct conn *c = conn_at(line);
	__u64 local, stood, had;
	struct real *r;

	if (!c || !k || !p)
		return 0;
	local = local_read(c);
	if (local)
		return local;
	stood = READ_ONCE(*local_of(c));
	r = real_at(c->real);
	if (!r)
		return 0;
	__builtin_memset(k, 0, sizeof(*k));
	k->tick = p->tick;
	for (int i = 0; i < LOCAL_TRIES && !local; i++)
		local = local_try(k, r, c, line);
	if (!local)
		return 0;
	had = __sync_val_compare_and_swap(local_of(c), stood, local);
	return had == stood ? local : had;
}

/* Both ends of a packet become others: of its header, and of its transport header if it has one. Says whether it could be read. */
static __always_inline int ends_write(struct ipv4 *ip, void *end, __be32 src, __be32 dst, __u32 ports, __u32 size)
{
	__u64 change = csum_change(ip->src, src) + csum_change(ip->dst, dst);
	void *l4 = (void *)ip + (ip->version_ihl & 15) * 4;

	if (!(ip->frag & be16(IP_OFFSET))) {
		if (l4 + 4 > end || !ports_write(l4, end, ip->proto, ports, change, size - (ip->version_ihl & 15) * 4))
			return 0;
	}
	ip->check = csum_mend(ip->check, change);
	ip->src = src;
	ip->dst = dst;
	return 1;
}

/* A following fragment's local address is that of the first. */
static __always_inline __be32 local_of_rest(struct fragment_key *k)
{
	struct fragment *first = bpf_map_lookup_elem(&fragments, k);

	return first ? first->virt[0] : 0;
}

static __always_inline void local_keep(struct fragment_key *k, __be32 local)
{
	struct fragment *first = bpf_map_lookup_elem(&fragments, k);

	if (first)
		first->virt[0] = local;
}

/* A client's packet, which has been decided and counted: to its real server, from a local address. */
__noinline int full_request(struct xdp_md *ctx, struct packet *p, struct way *w, __u64 tags)
{
	struct fragment_key k;
	struct frame f = {};
	struct real *r;
	__u32 line, tci = tags >> 32;
	__u64 local;

	if (!p || !w || frame_behind(ctx, &f, tags & 0xff) || (void *)(f.ip + 1) > f.end || (void *)(f.eth + 1) > f.end)
		return DROP_NO_ROOM;
	r = real_at(p->real);
	p->length = be16(f.ip->length);
	if (!r)
		return DROP_REAL_GONE;
	if (depart(f.ip, r, p, 0) == DONE)
		return f.ip->frag & be16(IP_OFFSET) ? untold(p->why, 0) : p->why;
	w->ifindex = r->ifindex;
	k = reply_key(f.ip);
	if (f.ip->frag & be16(IP_OFFSET)) {
		local = local_of_rest(&k);
	} else {
		__u32 *ports = (void *)f.ip + (f.ip->version_ihl & 15) * 4;

		if ((void *)(ports + 1) > f.end)
			return DROP_NO_ROOM;
		p->addr[0] = f.ip->src;
		p->addr[1] = f.ip->dst;
		p->ports = *ports | (__u64)f.ip->proto << 32;
		p->hash = conn_hash(f.ip->src, p->ports);
		line = line_find(p);
		local = line ? local_get(p, line - 1) : 0;
		if (f.ip->frag & be16(IP_MF))
			local_keep(&k, local);
	}
	if (!(__u32)local)
		return DROP_NO_LOCAL;
	if (!ends_write(f.ip, f.end, local, r->addr[0], (local >> 32 & 0xffff) | (__u32)(r->port ? r->port : packet_vport(p)) << 16, p->length))
		return DROP_NO_ROOM;
	eth_write(f.eth, r);
	if (unlikely(tci != load32(r->tci)) && relink(ctx, tags & 31, load32(r->tci)) == DONE)
		return DROP_NO_ROOM;
	return p->why;
}

/* The connection of the return line that p's key finds. */
static __always_inline struct conn *full_find(struct packet *p, __u64 *life)
{
	__u32 line = line_find(p);
	struct conn *back = line ? conn_at(line - 1) : NULL, *c = back ? return_conn(back, life) : NULL;

	if (!c || local_read(c) != local_make(p->addr[0], p->ports, *life) || due(p->tick, READ_ONCE(c->expires)))
		return NULL;
	p->real = READ_ONCE(c->real);
	return c;
}

/* Event and ports of a packet from a real server; p's key is that of its return line. */
static __always_inline int full_parse(struct xdp_md *ctx, struct frame *f, struct packet *p)
{
	__u8 proto = f->ip->proto;

	f->header = (f->ip->version_ihl & 15) * 4;
	p->length = be16(f->ip->length);
	p->event = 0;
	p->ports = (__u64)KIND_RETURN << 40 | (__u64)proto << 32;
	if (f->header < sizeof(*f->ip) || parse_transport(ctx, f, p) == DONE)
		return 0;
	p->ports = (p->ports & ~0xffffffffull) | (p->ports & 0xffff) << 16 | (p->ports >> 16 & 0xffff);
	p->addr[0] = f->ip->dst;
	p->addr[1] = f->ip->src;
	p->hash = conn_hash(p->addr[0], p->ports);
	return 1;
}

/* A packet from a real server to a local address: to the client, from the virtual address. See reply. */
__noinline int full_reply(struct xdp_md *ctx, struct way *w, struct packet *p, __u32 at)
{
	struct tunables *t = settings();
	struct frame f = {};
	__u64 life, hop;
	struct conn *c;
	__be32 client;
	__u32 mtu;

	if (!w || !t || !p || frame_behind(ctx, &f, at) || (void *)(f.ip + 1) > f.end || !source_has(f.ip->src))
		return 0;
	p->tick = tick_now(t);
	if (f.ip->frag & be16(IP_OFFSET))
		return reply_rest(ctx, w, at & 31, p->tick);
	if (!full_parse(ctx, &f, p))
		return 0;
	c = full_find(p, &life);
	if (!c || f.ip->ttl <= 1)
		return 0;
	client = c->addr[0];
	hop = hop_to_client(ctx, c, p->tick);
	mtu = READ_ONCE(c->addr[SPARE_HOP_MTU]);
	if (unlikely(mtu && p->length > mtu)) {
		if (!(f.ip->frag & be16(IP_DF)))
			w->why = DROP_TOO_BIG;
		return 0;
	}
	if (!conn_move(c, p, life, t, 1))
		return 0;
	if (packet_proto(p) != PROTO_TCP)
		template_assure(c->control);
	count_out(p->real, p->length);
	if (unlikely(f.ip->frag & be16(IP_MF)))
		reply_first(f.ip, p->real, p->tick, hop, c->addr[1] | (__u64)client << 32);
	if (eth_to_client(f.eth, hop, w) == DONE)
		return 1;
	ttl_less_one(f.ip);
	w->why = DROP_NO_ROOM;
	if (!ends_write(f.ip, f.end, c->addr[1], client, c->vport | (__u32)c->cport << 16, p->length))
		return 1;
	w->why = FORWARD_REPLY;
	if (unlikely(p->event == EVENT_SYN && packet_proto(p) == PROTO_TCP))
		reply_mss(ctx, f.at + f.header, p->real);
	return 1;
}

#endif
