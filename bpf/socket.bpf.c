//go:build ignore

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * socket.bpf.c: connections that the director itself opens to a virtual address. XDP sees what comes in by an interface, and
 * these never do. So the socket is pointed at a real server when it connects, or sends; what it asks for its peer, it is told
 * the virtual address. No packet is translated, and the connection is in no table.
 *
 * The programs hang at the root of the cgroups, which all network namespaces share: sockets of others than the director's
 * are left alone. They run in a process and may be interrupted by XDP on the same CPU: they take no lock that XDP takes and use
 * none of its scratch space. At worst two picks of round robin are the same.
 *
 * ipvs: translates such a connection as any other.
 */
#include "headers/bpf.h"
#include "headers/net.h"
#include "shared.h"
#include "config.h"
#include "packet.h"
#include "service.h"
#include "conn.h"
#include "find.h"
#include "schedule.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The network namespace of the director. */
const volatile __u64 own_namespace = 0;

enum { AF_INET = 2, ECONNREFUSED = 111, REFUSE = 0, PROCEED = 1 };

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct socket_key);
	__type(value, struct socket_choice);
} socket_choices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct socket_key);
	__type(value, struct socket_name);
} socket_names SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SOCKET_OUTCOMES);
	__type(key, __u32);
	__type(value, __u64);
} socket_outcomes SEC(".maps");

static __always_inline void outcome(enum socket_outcome index, int again)
{
	__u32 key = index;
	__u64 *n = again ? NULL : bpf_map_lookup_elem(&socket_outcomes, &key);

	if (n)
		__sync_fetch_and_add(n, 1);
}

/* A socket of IPv6 may speak to an address of IPv4 (RFC 4291 2.5.5.2). */
static __always_inline int mapped(const __be32 *addr)
{
	return !addr[0] && !addr[1] && addr[2] == be32(0xffff);
}

/* The address that was given, as a packet has it: the key of what is looked for. */
static __always_inline void asked(struct bpf_sock_addr *ctx, int six, struct socket_key *k)
{
	*k = (struct socket_key){ .port = ctx->user_port, .proto = ctx->protocol };
	if (!six) {
		k->addr[0] = ctx->user_ip4;
		return;
	}
	for (int i = 0; i < 4; i++)
		k->addr[i] = ctx->user_ip6[i];
	if (mapped(k->addr))
		*(k->addr) = k->addr[3];
	else
		k->v6 = 1;
	for (int i = 1; i < 4 && !k->v6; i++)
		k->addr[i] = 0;
}

/* The other way round. */
static __always_inline void give(struct bpf_sock_addr *ctx, int six, const __be32 *addr, __be16 port, int v6)
{
	ctx->user_port = port;
	if (!six) {
		ctx->user_ip4 = addr[0];
		return;
	}
	ctx->user_ip6[0] = v6 ? addr[0] : 0;
	ctx->user_ip6[1] = v6 ? addr[1] : 0;
	ctx->user_ip6[2] = v6 ? addr[2] : be32(0xffff);
	ctx->user_ip6[3] = v6 ? addr[3] : addr[0];
}

/*
 * Like schedule, without the lock. The caches of lblc and lblcr need theirs: a connection of our own gets the least loaded
 * server, as the first one to a destination does.
 */
__noinline __u32 choose(struct packet *p)
{
	struct service *s;
	struct pool *pool;
	__u32 index;

	if (!p)
		return NO_REAL;
	s = service_at(p->service);
	if (!s)
		return NO_REAL;
	index = s->pool;
	pool = bpf_map_lookup_elem(&pools, &index);
	if (!pool)
		return NO_REAL;
	/* A service of other ports than its own has them by persistence alone, as in open.h. */
	if (!s->persist && !s->mark && packet_vport(p) != s->port)
		return NO_REAL;
	if (s->scheduler == SCHED_LBLC || s->scheduler == SCHED_LBLCR)
		return pick_least(pool, SCHED_WLC);
	return pick(p, s, pool);
}

/* What was chosen before, by this key, if it holds: it lasts on then. Else NULL. */
static __always_inline struct socket_choice *held(struct socket_key *k, __u32 tick, __u32 span, int quiescent)
{
	struct socket_choice *c = bpf_map_lookup_elem(&socket_choices, k);
	struct real *r = c ? real_at(c->real) : NULL;

	if (!r || r->serial != c->serial || r->flags & REAL_GONE || tick - c->tick >= span || (quiescent && !r->weight))
		return NULL;
	c->tick = tick;
	return c;
}

static __always_inline void keep(struct socket_key *k, struct socket_choice *c)
{
	bpf_map_update_elem(&socket_choices, k, c, 0);
}

/* What all sockets of this host share, to a persistent service: it is one client. For the rest as template_key in open.h. */
static __always_inline struct socket_key shared_key(struct socket_key *k, struct service *s)
{
	struct socket_key c = *k;

	c.cookie = 0;
	if (s->mark)
		c = (struct socket_key){ .addr = { s->mark }, .v6 = k->v6 };
	else if (k->port != s->port || s->port == be16(PORT_FTP))
		c.port = 0;
	return c;
}

static __always_inline struct packet as_packet(struct socket_key *k)
{
	/* From the address that it goes to: so the host sends to an address of its own. */
	struct packet p = { .ports = (__u64)k->port << 16 | (__u64)k->proto << 32 | (__u64)(k->v6 ? KIND_IPV6 : 0) << 40 };

	if (k->v6) {
		__builtin_memcpy(p.addr, k->addr, 16);
		__builtin_memcpy(p.addr + 4, k->addr, 16);
	} else {
		p.addr[0] = p.addr[1] = k->addr[0];
	}
	return p;
}

/*
 * The real server of a service, or NO_REAL. Datagrams of one socket are one connection. Again: this one is another of what was
 * counted already.
 */
static __always_inline __u32 real_for(struct packet *p, struct socket_key *k, struct service *s, struct tunables *t, int *again)
{
	int keeps = k->proto == PROTO_UDP && !(s->flags & SERVICE_ONE_PACKET);
	struct socket_choice *own = NULL, *old = NULL, next = {};
	struct socket_key shared = shared_key(k, s);
	__u32 tick = tick_now(t);
	struct real *r;

	if (s->persist) /* first, so that it lasts while datagrams go. ipvs: it lasts while a connection does */
		old = held(&shared, tick, s->persist, !!t->expire_quiescent_template);
	if (keeps)
		own = held(k, tick, t->udp, 0);
	if (own) {
		*again = 1;
		return own->real;
	}
	next.real = old ? old->real : choose(p);
	r = real_at(next.real);
	if (!r)
		return NO_REAL;
	next.serial = r->serial;
	next.tick = tick;
	if (keeps)
		keep(k, &next);
	if (s->persist && !old)
		keep(&shared, &next);
	return next.real;
}

/* The socket is told its peer's name by what it got. */
static __always_inline void name_keep(struct socket_key *asked_for, const __be32 *addr, __be16 port)
{
	struct socket_key k = { .cookie = asked_for->cookie, .port = port, .proto = asked_for->proto, .v6 = asked_for->v6 };
	struct socket_name n = { .port = asked_for->port };

	__builtin_memcpy(k.addr, addr, 16);
	__builtin_memcpy(n.addr, asked_for->addr, 16);
	bpf_map_update_elem(&socket_names, &k, &n, 0);
}

static __always_inline int connects(struct bpf_sock_addr *ctx, int six)
{
	struct tunables *t = settings();
	struct socket_key k;
	struct counters *n;
	struct service *s;
	struct packet p;
	struct real *r;
	__u32 real;
	__be16 port;
	int again = 0;

	asked(ctx, six, &k);
	/* As packets: no UDP-Lite, and no socket of ping. SCTP's sockets do not come here. */
	if (!t || (k.proto != PROTO_TCP && k.proto != PROTO_UDP))
		return PROCEED;
	if (!(k.v6 ? filter_has6(k.addr) : filter_has(k.addr)) || bpf_get_netns_cookie(ctx) != own_namespace)
		return PROCEED;
	p = as_packet(&k);
	if (!service_find(&p))
		return PROCEED;
	s = service_at(p.service);
	if (!s)
		return PROCEED;
	k.cookie = bpf_get_socket_cookie(ctx);
	real = real_for(&p, &k, s, t, &again);
	r = real_at(real);
	if (!r && s->port == be16(PORT_FTP) && k.port != s->port)
		return PROCEED; /* as in open.h: it is not that service's business */
	if (!r) {
		outcome(SOCKET_REFUSED, 0);
		bpf_set_retval(-ECONNREFUSED);
		return REFUSE;
	}
	n = again ? NULL : counters_at(real);
	if (n)
		__sync_fetch_and_add(&n->conns, 1); /* XDP on this CPU may come in between, and never in the middle */
	port = r->forward == FORWARD_MASQ && r->port ? r->port : k.port;
	if (r->forward == FORWARD_LOCAL || (r->flags & REAL_LOCAL && port == k.port)) {
		outcome(SOCKET_HERE, again);
		return PROCEED;
	}
	if (!!(r->flags & REAL_IPV6) != k.v6) {
		outcome(SOCKET_FAMILY, again);
		return PROCEED;
	}
	name_keep(&k, r->addr, port);
	give(ctx, six, r->addr, port, k.v6);
	outcome(SOCKET_SENT, again);
	return PROCEED;
}

/* Whom a datagram is from, or who the peer is: the name that the socket asked for. */
static __always_inline int renames(struct bpf_sock_addr *ctx, int six)
{
	struct socket_name *n;
	struct socket_key k;

	asked(ctx, six, &k);
	k.cookie = bpf_get_socket_cookie(ctx);
	n = bpf_map_lookup_elem(&socket_names, &k);
	if (n)
		give(ctx, six, n->addr, n->port, k.v6);
	return PROCEED;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	return connects(ctx, 0);
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	return connects(ctx, 1);
}

/* A datagram of a socket that is not connected. */
SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	return connects(ctx, 0);
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	return connects(ctx, 1);
}

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr *ctx)
{
	return renames(ctx, 0);
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr *ctx)
{
	return renames(ctx, 1);
}

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr *ctx)
{
	return renames(ctx, 0);
}

SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr *ctx)
{
	return renames(ctx, 1);
}

/* Only their BTF is wanted, as of words in lb.bpf.c. */
struct {
	enum socket_outcome socket_outcome;
} words SEC(".words");
