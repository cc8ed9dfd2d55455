/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * find.h: the virtual service of a packet. IPVS's order: the one of its firewall mark, then the one of its protocol, address and
 * port, then FTP's of that address, then that of every port.
 *
 * ipvs: has the mark from netfilter, which XDP runs before. Here classes say it, which user space is told.
 */
#ifndef VIPD_FIND_H
#define VIPD_FIND_H

#include "conn.h"

enum { PORT_FTP_DATA = 20, PORT_FTP = 21, PORT_UNPRIVILEGED = 1024, CLASS_BLOCK = 16 };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * MAX_CLASSES);
	__type(key, __u32);
	__type(value, struct class);
} classes SEC(".maps");

static __always_inline int network_has(const __be32 *network, const __be32 *mask, const __be32 *addr, int words)
{
	for (int i = 0; i < 4; i++)
		if (i < words && (addr[i] & mask[i]) != network[i])
			return 0;
	return 1;
}

static __always_inline int class_fits(struct class *c, struct packet *p)
{
	__u16 port = be16(packet_vport(p));

	if (c->proto && c->proto != packet_proto(p))
		return 0;
	if (port < c->first || port > c->last)
		return 0;
	if (c->ifindex && (c->ifindex != p->ingress || load32(c->tci) != p->tci))
		return 0;
	if (!packet_v6(p))
		return !c->six && network_has(c->to, c->to_mask, p->addr + 1, 1) && network_has(c->from, c->from_mask, p->addr, 1);
	return c->six && network_has(c->to, c->to_mask, p->addr + 4, 4) && network_has(c->from, c->from_mask, p->addr, 4);
}

struct classing {
	struct packet *p;
	__u32 first, count;
	__u32 mark;
};

static int class_block(__u32 block, struct classing *w)
{
	for (__u32 i = 0; i < CLASS_BLOCK; i++) {
		__u32 at = block * CLASS_BLOCK + i, index = w->first + at;
		struct class *c;

		if (at >= w->count)
			return 1;
		c = bpf_map_lookup_elem(&classes, &index);
		if (c && class_fits(c, w->p)) {
			w->mark = c->mark;
			return 1;
		}
	}
	return 0;
}

/* The packet's firewall mark; 0: none. */
__noinline __u32 packet_mark(struct packet *p)
{
	struct tunables *t = settings();
	struct classing w = { .p = p };

	if (!p || !t)
		return 0;
	w.first = t->classes & 0xffff;
	w.count = t->classes >> 16;
	bpf_loop(MAX_CLASSES / CLASS_BLOCK, class_block, &w, 0);
	return w.mark;
}

static __always_inline __u32 *service_of_mark(__u32 mark, int v6)
{
	struct service_key key = { .addr = be32(mark), .kind = v6 ? SERVICE_MARK6 : SERVICE_MARK };

	return bpf_map_lookup_elem(&service_index, &key);
}

struct hints service_hints SECTION(".data.service_hints");

static __always_inline __u32 *hint_of(struct packet *p, __be16 port)
{
	enum { BITS = 10 };
	__u32 mixed = (packet_destination(p) ^ (__u32)port << 4 ^ packet_proto(p)) * 0x9e3779b1u;

	_Static_assert(HINTS == 1 << BITS, "an index is what the multiplication leaves above");
	return &service_hints.service[mixed >> (32 - BITS)];
}

static __always_inline __u32 owner_rest(__be16 port, __u8 proto, enum service_kind kind)
{
	return port | (__u32)proto << 16 | (__u32)kind << 24;
}

/* Is it the service of the packet's address and protocol, and this port? */
static __always_inline int owned(struct service *s, struct packet *p, __be16 port)
{
	if (!packet_v6(p))
		return s->owner.addr[0] == p->addr[1] && load32(&s->owner.port) == owner_rest(port, packet_proto(p), SERVICE_IPV4);
	return same6(s->owner.addr, p->addr + 4) && load32(&s->owner.port) == owner_rest(port, packet_proto(p), SERVICE_IPV6);
}

static __always_inline __u32 *index_of_port(struct packet *p, __be16 port)
{
	struct service_key6 key6;
	struct service_key key;

	if (!packet_v6(p)) {
		key = (struct service_key){ .addr = p->addr[1], .port = port, .proto = packet_proto(p) };
		return bpf_map_lookup_elem(&service_index, &key);
	}
	key6 = (struct service_key6){ .port = port, .proto = packet_proto(p), .kind = SERVICE_IPV6 };
	__builtin_memcpy(key6.addr, p->addr + 4, sizeof(key6.addr));
	return bpf_map_lookup_elem(&service_index6, &key6);
}

/* Sets packet.service. Nearly always the hint is right, and costs a small part of what the maps do. */
static __always_inline int service_of_port(struct packet *p, __be16 port)
{
	__u32 *hint = hint_of(p, port), *index;
	__u32 last = READ_ONCE(*hint);
	struct service *s = service_at(last);

	if (likely(s && owned(s, p, port))) {
		p->service = last;
		return 1;
	}
	index = index_of_port(p, port);
	if (!index)
		return 0;
	p->service = last = *index;
	WRITE_ONCE(*hint, last);
	return 1;
}

/* May it be a data connection of FTP's service? */
static __always_inline int ftp_side(struct packet *p)
{
	__u16 port = be16(packet_vport(p));

	return packet_proto(p) == PROTO_TCP && (port == PORT_FTP_DATA || port >= PORT_UNPRIVILEGED);
}

/* Sets packet.service. Global, so that its lookups are verified once, and their keys are not on the stack of what follows. */
__noinline int service_find(struct packet *p)
{
	struct tunables *t = settings();
	__u32 *index, mark;

	if (!p || !t)
		return 0;
	if (t->have & HAVE_MARKS) {
		mark = packet_mark(p);
		index = mark ? service_of_mark(mark, packet_v6(p)) : NULL;
		if (index) {
			p->service = *index;
			return 1;
		}
	}
	if (likely(service_of_port(p, packet_vport(p))))
		return 1;
	if (t->have & HAVE_FTP && ftp_side(p) && service_of_port(p, be16(PORT_FTP)))
		return 1;
	return t->have & HAVE_PORT0 && service_of_port(p, 0);
}

#endif
