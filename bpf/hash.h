/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hash.h: schedulers that pick by an address: sh, dh and mh. User space fills their tables; equal input makes equal tables, so
 * that every director sends a client to the same real server.
 */
#ifndef VIPD_HASH_H
#define VIPD_HASH_H

#include "pool.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2048);
	__type(key, __u32);
	__type(value, struct sh_table);
} sh_tables SEC(".maps");

/* A Maglev table is a run of MH_LINES entries, for the services that have one only. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2048);
	__type(key, __u32);
	__type(value, struct mh_line);
} mh_lines SEC(".maps");

/* Addresses as numbers; of IPv6 the exclusive or of the four words. */
static __always_inline __u32 client_number(struct packet *p)
{
	return be32(packet_source(p));
}

static __always_inline __u32 virt_number(struct packet *p)
{
	return be32(packet_destination(p));
}

/* The real server if it is fit, else NO_REAL. Global: verified once, and not for each slot that a walk may come to. */
__noinline __u32 fit_real(__u32 real)
{
	struct real_count *n = real_count_at(real);
	struct real *r = real_at(real);

	if (!r || !n || r->weight <= 0 || r->flags & REAL_GONE || n->overloaded)
		return NO_REAL;
	return real;
}

/* IPVS's hash: the golden ratio, upper eight bits. */
static __always_inline __u32 sh_slot(__u32 value, __u32 turn)
{
	return (turn + (value * 0x61c88647u >> 24)) & (SH_SLOTS - 1);
}

__noinline __u32 pick_sh(struct packet *p, __u32 table, __u32 flags)
{
	__u32 key = table, value, slot, real;
	struct sh_table *t = bpf_map_lookup_elem(&sh_tables, &key);

	if (!p || !t)
		return NO_REAL;
	value = client_number(p);
	if (flags & SERVICE_PORT)
		value += be16((__u16)p->ports);
	slot = sh_slot(value, 0);
	real = fit_real(t->real[slot]);
	if (real != NO_REAL || !(flags & SERVICE_FALLBACK))
		return real;
	for (__u32 i = 0; i < SH_SLOTS; i++) {
		__u32 next = sh_slot(value, i + slot);

		if (t->real[next] == NO_REAL)
			return NO_REAL;
		real = fit_real(t->real[next]);
		if (real != NO_REAL)
			return real;
	}
	return NO_REAL;
}

/* No fallback: the clients of an address whose server is not fit are told so. */
static __always_inline __u32 pick_dh(struct packet *p, __u32 table)
{
	struct sh_table *t = bpf_map_lookup_elem(&sh_tables, &table);

	return t ? fit_real(t->real[sh_slot(virt_number(p), 0)]) : NO_REAL;
}

#define ROTATE(x, by) ((x) << (by) | (x) >> (64 - (by)))

static __always_inline void sip_round(__u64 *v)
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = ROTATE(v[1], 13) ^ v[0];
	v[3] = ROTATE(v[3], 16) ^ v[2];
	v[0] = ROTATE(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = ROTATE(v[1], 17) ^ v[2];
	v[3] = ROTATE(v[3], 21) ^ v[0];
	v[2] = ROTATE(v[2], 32);
}

/* SipHash-1-3 of four bytes, both halves of the key the same, truncated to 32 bits. */
static __always_inline __u32 sip13(__u32 value, __u64 key)
{
	__u64 b = 4ull << 56 | value;
	__u64 v[4] = {
		key ^ 0x736f6d6570736575ull, key ^ 0x646f72616e646f6dull,
		key ^ 0x6c7967656e657261ull, key ^ 0x7465646279746573ull,
	};

	v[3] ^= b;
	sip_round(v);
	v[0] ^= b;
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

enum { MH_KEY = 2654435761u };

static __always_inline __u32 mh_slot(__u32 value)
{
	return sip13(value, MH_KEY) % MH_SLOTS;
}

/* What stands in a slot of the table that begins with this line. */
static __always_inline __u32 mh_real(__u32 table, __u32 slot)
{
	__u32 line = table + slot / MH_LINE;
	struct mh_line *l = bpf_map_lookup_elem(&mh_lines, &line);

	return l ? l->real[slot & (MH_LINE - 1)] : NO_REAL;
}

struct mh_walk {
	__u32 table, value, from, found;
};

/* The address is hashed anew with every slot from its own on as an offset, until that meets a server that is fit. */
static int mh_step(__u32 i, struct mh_walk *w)
{
	__u32 real = mh_real(w->table, mh_slot(w->value + (w->from + i) % MH_SLOTS));

	if (real == NO_REAL)
		return 1;
	w->found = fit_real(real);
	return w->found != NO_REAL;
}

__noinline __u32 pick_mh(struct packet *p, __u32 table, __u32 flags)
{
	struct mh_walk w = { .table = table, .found = NO_REAL };
	__u32 real;

	if (!p)
		return NO_REAL;
	w.value = client_number(p);
	if (flags & SERVICE_PORT)
		w.value += be16((__u16)p->ports);
	w.from = mh_slot(w.value);
	real = mh_real(table, w.from);
	if (real == NO_REAL)
		return NO_REAL;
	real = fit_real(real);
	if (real != NO_REAL || !(flags & SERVICE_FALLBACK))
		return real;
	bpf_loop(MH_SLOTS, mh_step, &w, 0);
	return w.found;
}

#endif
