/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * fullnat.h: masquerading with a source of ours too (FULLNAT), for real servers whose routes nobody may touch: they see one of
 * this host's addresses as their client, and answer it. A request's source becomes an address of real.source on (real.locals of
 * them) and a port that no other connection to this server has there; both stand in the connection's line.
 *
 * Replies name neither the client nor the virtual address. They are found by a line of their own (KIND_RETURN), which has the
 * local and the server's end as its key, and says which line the connection is. It has no life of its own: it is taken for ended
 * as soon as the connection's line has another generation, and found to be so once a minute (conn_extend).
 */
#ifndef VIPD_FULLNAT_H
#define VIPD_FULLNAT_H

#include "icmp.h"
#include "open.h"
#include "proxy.h"
#include "reply.h"
#include "transmit.h"
#include "vlan.h"

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

/*
 * Takes a line for the replies to this local end, of which k is the key, or finds it taken for this connection already; 0: another
 * one has it, or there is no room.
 */
static __always_inline int return_take_locked(struct region *r, struct region_head *head, struct key *k, __u32 line, __u64 owner)
{
	struct place at = region_place(r, k);
	struct conn *back;
	__u64 life;

	if (at.found < REGION_LINES) {
		back = &r->line[at.found & (REGION_LINES - 1)];
		if (return_conn(back, &life))
			return back->control == line;
		at.free = at.found;
	}
	if (at.free >= REGION_LINES)
		return 0;
	back = &r->line[at.free & (REGION_LINES - 1)];
	if (!conn_clear(back, head))
		return 0;
	__builtin_memcpy(back->addr, k->addr, sizeof(back->addr));
	*(__u64 *)(void *)&back->cport = k->ports;
	back->control = line;
	back->packets = owner >> 32;
	back->expires = k->tick; /* due at once: it lives by its connection */
	back->real = 0;
	head->live++;
	__sync_lock_test_and_set(&back->life, life_make(back->life + (1ull << 32), CONN_INACTIVE, PROXY_NONE));
	return 1;
}

static __always_inline int return_take(struct key *k, __u32 line, __u64 life)
{
	__u32 index = hash_region(k->hash);
	struct region *r = bpf_map_lookup_elem(&regions, &index);
	struct region_head *head = bpf_map_lookup_elem(&region_heads, &index);
	int taken;

	if (!r || !head || !lock(&head->lock))
		return 0;
	taken = return_take_locked(r, head, k, line, life);
	unlock(&head->lock);
	return taken;
}

/*
 * The key of the line that replies to the local end are found by; its address stands in k already. `ports`: as conn_ports has them of
 * the connection.
 */
static __always_inline void return_key(struct key *k, struct real *r, __u64 ports, __be16 port)
{
	__u64 kept = ports & (0xffull << 32 | (__u64)KIND_IPV6 << 40);
	__be16 rport = r->port ? r->port : (__be16)(ports >> 16);

	k->ports = port | (__u64)rport << 16 | kept | (__u64)KIND_RETURN << 40;
	if (ports >> 40 & KIND_IPV6)
		__builtin_memcpy(k->addr + 4, r->addr, sizeof(r->addr));
	else
		k->addr[1] = r->addr[0];
	k->hash = key_hash(k->addr, k->ports);
}

/* One of the real server's local addresses, by its number. */
static __always_inline void local_address(struct key *k, struct real *r, __u32 number)
{
	__u64 low;

	k->addr[0] = r->source[0];
	if (!(r->flags & REAL_IPV6)) {
		k->addr[0] = be32(be32(r->source[0]) + number);
		return;
	}
	low = ((__u64)be32(r->source[2]) << 32 | be32(r->source[3])) + number;
	k->addr[1] = r->source[1];
	k->addr[2] = be32(low >> 32);
	k->addr[3] = be32(low);
}

/* One try, by chance; the end stands in k. Global: verified once. */
__noinline int local_try(struct key *k, __u32 line, __u32 chance)
{
	struct conn *c = conn_at(line), *back;
	struct real *r;
	__u64 life;

	if (!k || !c)
		return 0;
	life = READ_ONCE(c->life);
	r = real_at(c->real);
	if (!r)
		return 0;
	local_address(k, r, (chance >> 16) % (r->locals | !r->locals));
	return_key(k, r, conn_ports(c), be16(LOCAL_FIRST_PORT + (chance & 0xffff) % LOCAL_PORTS));
	back = return_at(k);
	if (back && back->control == line && back->packets == life >> 32 && life_phase(READ_ONCE(back->life)) == PHASE_LIVE)
		return 1;
	return return_take(k, line, life);
}

/* Of IPv6, what another director chose: it is none of our tries. */
static __always_inline int local_told(struct key *k, struct conn *c, __u32 line)
{
	__u64 life = READ_ONCE(c->life);
	struct conn *back = life_flags(life) & CONN_LOCAL ? conn_at(READ_ONCE(c->control) - 1) : NULL;

	if (!back || !(back->kind & KIND_RETURN) || back->control != line || back->packets != life >> 32)
		return 0;
	__builtin_memcpy(k->addr, back->addr, sizeof(k->addr));
	k->ports = conn_ports(back);
	k->hash = key_hash(k->addr, k->ports);
	return 1;
}

/* What was chosen before. A line of IPv6 has no room for it: its tries are the same each time, by the hash of its client. */
static __always_inline int local_known(struct key *k, struct conn *c, __u32 line)
{
	struct real *r = real_at(c->real);
	__u64 local;

	if (c->kind & KIND_IPV6)
		return local_told(k, c, line);
	local = local_read(c);
	if (!local || !r)
		return 0;
	k->addr[0] = local;
	return_key(k, r, conn_ports(c), local >> 32);
	return 1;
}

/*
 * The local end of the connection in that line, which is chosen when it is first needed: it comes to stand in scratch, as the
 * key of the line for its replies. 0: there was none to be had. Another CPU may choose at the same time: of IPv4 the first one's
 * choice holds, and the other's line leads to a connection that does not know it.
 */
__noinline int local_get(struct packet *p, __u32 line)
{
	__u32 zero = 0, chance = 0;
	struct key *k = bpf_map_lookup_elem(&scratch, &zero);
	struct conn *c = conn_at(line);
	__u64 stood, local;
	int found = 0;

	if (!c || !k || !p)
		return 0;
	__builtin_memset(k, 0, sizeof(*k));
	k->tick = p->tick;
	if (local_known(k, c, line))
		return 1;
	stood = READ_ONCE(*local_of(c));
	for (int i = 0; i < LOCAL_TRIES && !found; i++) {
		chance = packet_v6(p) ? hash_mix(p->hash, i) >> 32 : bpf_get_prandom_u32();
		found = local_try(k, line, chance);
	}
	if (!found || packet_v6(p))
		return found;
	local = local_make(k->addr[0], k->ports, READ_ONCE(c->life));
	return __sync_val_compare_and_swap(local_of(c), stood, local) == stood || local_known(k, c, line);
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

/*
 * A learned connection whose client's way back is not known: that by which its packet came, as with what begins here. Global: verified
 * once.
 */
__noinline int full_came_by(struct packet *p, __u32 line, __u64 hop)
{
	struct conn *c = conn_at(line);
	struct client_key k;
	struct client *known;

	if (!c || !p)
		return 0;
	if (!packet_v6(p)) {
		if (!READ_ONCE(*hop_of(c)))
			WRITE_ONCE(*hop_of(c), hop);
		return 1;
	}
	__builtin_memcpy(k.addr, p->addr, sizeof(k.addr));
	known = bpf_map_lookup_elem(&clients6, &k);
	if (known && READ_ONCE(known->hop))
		return 0;
	client_learn(hop, &k);
	return 1;
}

/* The line and local end of a client's packet, and the frame if it came in that; 0: none. */
static __always_inline struct key *full_end(struct xdp_md *ctx, struct frame *f, struct packet *p)
{
	__u32 zero = 0, line = line_find(p);
	struct conn *c = line ? conn_at(line - 1) : NULL;

	if (!c)
		return NULL;
	if (f && unlikely(life_flags(READ_ONCE(c->life)) & CONN_SYNC))
		full_came_by(p, line - 1, hop_make(f->eth->src, came_by(ctx, f)));
	return local_get(p, line - 1) ? bpf_map_lookup_elem(&scratch, &zero) : NULL;
}

/* A client's packet, which has been decided and counted: to its real server, from a local address. */
__noinline int full_request(struct xdp_md *ctx, struct packet *p, struct way *w, __u64 tags)
{
	struct fragment_key k;
	struct key *end = NULL;
	__be32 local;
	__u32 mine = 0;
	struct frame f = {};
	struct real *r;
	__u32 tci = tags >> 32;

	if (!p || !w || frame_behind(ctx, &f, tags & 0xff) || (void *)(f.ip + 1) > f.end || (void *)(f.eth + 1) > f.end)
		return DROP_NO_ROOM;
	r = real_at(p->real);
	p->length = be16(f.ip->length);
	f.tci = tci;
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
		end = full_end(ctx, &f, p);
		local = end ? end->addr[0] : 0;
		mine = end ? end->ports : 0; /* both ports, as they go on */
		if (f.ip->frag & be16(IP_MF))
			local_keep(&k, local);
	}
	if (!local)
		return DROP_NO_LOCAL;
	if (!ends_write(f.ip, f.end, local, r->addr[0], mine, p->length))
		return DROP_NO_ROOM;
	eth_write(f.eth, r);
	if (unlikely(r->flags & REAL_PROXY && end))
		p->why = proxy_request(ctx, p, f.at, f.at + (f.ip->version_ihl & 15) * 4, r->mtu);
	if (!forwards(p->why))
		return p->why;
	if (unlikely(tci != load32(r->tci)) && relink(ctx, tags & 31, load32(r->tci)) == DONE)
		return DROP_NO_ROOM;
	return p->why;
}

/* The connection of the return line that p's key finds. */
static __always_inline struct conn *full_find(struct packet *p, __u64 *life)
{
	__u32 line = line_find(p);
	struct conn *back = line ? conn_at(line - 1) : NULL, *c = back ? return_conn(back, life) : NULL;

	if (!c || due(p->tick, READ_ONCE(c->expires)) || (!packet_v6(p) && local_read(c) != local_make(p->addr[0], p->ports, *life)))
		return NULL;
	p->parent = line;
	p->real = READ_ONCE(c->real);
	return c;
}

/*
 * A packet to a local end that no connection has: the host would reset it, and another director may be about to tell of it. It is
 * another road's if that knows it.
 */
static __always_inline void full_stranger(struct way *w, struct packet *p, struct tunables *t, int local)
{
	__u16 port = be16(p->ports);

	if (local && t->patience && !due(p->tick, t->patience) && !packet_opens(p) && (__u16)(port - LOCAL_FIRST_PORT) < LOCAL_PORTS)
		w->why = DROP_AWAITED;
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

/* What a reply's TCP header has to say otherwise. */
static __always_inline void full_answered(struct xdp_md *ctx, struct packet *p, __u32 at)
{
	struct real *r = real_at(p->real);

	if (unlikely(p->event == EVENT_SYN))
		reply_mss(ctx, at, p->real);
	if (unlikely(r && r->flags & REAL_PROXY))
		proxy_reply(ctx, p, at);
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

	if (!w || !t || !p || frame_behind(ctx, &f, at) || (void *)(f.ip + 1) > f.end || !source_has(&f.ip->src))
		return 0;
	p->tick = tick_now(t);
	if (f.ip->frag & be16(IP_OFFSET))
		return reply_rest(ctx, w, at & 31, p->tick);
	if (!full_parse(ctx, &f, p))
		return 0;
	c = full_find(p, &life);
	if (!c)
		full_stranger(w, p, t, source_has(p->addr));
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
	if (!conn_move(c, p, life, 1))
		return 0;
	if (packet_proto(p) == PROTO_UDP)
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
	if (packet_proto(p) == PROTO_TCP)
		full_answered(ctx, p, f.at + f.header);
	return 1;
}

#endif
