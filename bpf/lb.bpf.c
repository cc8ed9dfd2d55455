//go:build ignore

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * lb.bpf.c: the itinerary of a packet. decide reads from top to bottom; each step says NEXT or has decided, and settle is
 * the one way out: it counts why. Below it are the programs that user space runs by BPF_PROG_TEST_RUN; nothing attaches
 * them.
 *
 * Needs Linux 6.1 (bpf_loop 5.17, bpf_timer 5.15, global functions that take pointers 5.13).
 */
#include "headers/bpf.h"
#include "headers/net.h"
#include "shared.h"
#include "config.h"
#include "packet.h"
#include "service.h"
#include "conn.h"
#include "open.h"
#include "direct.h"
#include "nat.h"
#include "tunnel.h"
#include "icmp.h"
#include "reply.h"
#include "sweep.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, REASONS);
	__type(key, __u32);
	__type(value, __u64);
} reasons SEC(".maps");

/* Words of shared.h that no map's type holds; only their BTF is wanted. The section is nothing that is loaded. */
struct {
	enum number number;
	enum spare spare;
	enum phase phase;
	enum conn_flag conn_flag;
	enum conn_kind conn_kind;
	enum scheduler scheduler;
	enum service_flag service_flag;
	enum service_kind service_kind;
	struct service_key6 service_key6;
	enum real_flag real_flag;
	enum tunnel tunnel;
	enum tunnel_flag tunnel_flag;
	enum have have;
	enum reason reason;
	struct order order;
	struct instant instant;
	struct meta meta;
} words SEC(".words");

/* The connection decides where the packet goes; NEXT: there is none that will do. */
static __always_inline enum step hit(struct packet *p, struct tunables *t, struct real **real)
{
	struct conn *c;
	struct real *r;
	__u64 life;

	c = conn_find(p, &life);
	if (unlikely(!c))
		return NEXT;
	p->real = READ_ONCE(c->real);
	/* A line that changed hands while it was read is looked for again under its region's lock. */
	if (unlikely((READ_ONCE(c->life) ^ life) & LIFE_GENERATION))
		return NEXT;
	r = real_at(p->real);
	if (unlikely(!r || r->flags & REAL_GONE)) {
		if (p->event == EVENT_SYN)
			return NEXT;
		return leave(p, DROP_REAL_GONE);
	}
	if (unlikely(p->event == EVENT_SYN) && !c->control && TCP_REUSABLE >> life_state(life) & 1)
		return NEXT;
	if (unlikely(!conn_move(c, p, life, t, 0)))
		return NEXT;
	*real = r;
	return leave(p, FORWARD_HIT);
}

/* No state is kept for fragments: the ports are in the first only. The host would put them together and not forward them. */
static __always_inline enum step first_fragment(struct frame *f, struct packet *p)
{
	if (likely(!(f->ip->frag & be16(IP_MF))))
		return NEXT;
	if (service_find(p) == DONE)
		return DONE;
	return leave(p, DROP_FRAGMENT);
}

static __always_inline int forwards(enum reason why)
{
	return why >= FORWARD_HIT && why < REPLY_NO_SERVER;
}

/*
 * The slow road works on a copy, whose address it may know: the packet itself then stays in registers. The copy is no part of
 * the stack, of which all callers and callees together have 512 bytes.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct packet);
} slow_packets SEC(".maps");

static __always_inline void miss(struct frame *f, struct packet *p, struct real **real)
{
	__u32 zero = 0;
	struct packet *slow = bpf_map_lookup_elem(&slow_packets, &zero);

	p->why = PASS_NOT_SERVICE;
	if (unlikely(!slow)) /* for the verifier: the array has this one entry */
		return;
	*slow = *p;
	slow->hop = hop_make(f->eth->src, f->ifindex);
	p->why = admit(slow);
	p->real = slow->real;
	if (!forwards(p->why))
		return;
	*real = real_at(p->real);
	if (!*real)
		p->why = DROP_REAL_GONE;
}

/* Why, and if the packet is to be forwarded, its real server. */
static __always_inline void decide(struct xdp_md *ctx, struct frame *f, struct packet *p, struct real **real)
{
	struct tunables *t = settings();

	if (parse_link(ctx, f, p) == DONE || parse_network(f, p) == DONE || parse_transport(f, p) == DONE)
		return;
	if (first_fragment(f, p) == DONE)
		return;
	if (unlikely(!t)) { /* for the verifier: the array has this one entry */
		p->why = PASS_NOT_SERVICE;
		return;
	}
	p->tick = tick_now(t);
	p->hash = conn_hash(p->ends, p->ports);
	if (unlikely(hit(p, t, real) == NEXT))
		miss(f, p, real);
}

/* Sends the packet on by its real server's method, or changes p->why. */
static __always_inline void transmit(struct xdp_md *ctx, struct frame *f, struct real *r, struct packet *p)
{
	__u32 at = (void *)f->ip - (void *)f->eth;

	if (likely(r->forward == FORWARD_ROUTE))
		direct(f, r, p);
	else if (r->forward == FORWARD_MASQ)
		p->why = nat_request(ctx, r, at, packet_vport(p), p->why);
	else if (r->forward == FORWARD_TUNNEL)
		p->why = tunnel_request(ctx, r, at, p->hash >> 32, p->why);
	else
		p->why = PASS_LOCAL;
}

/* The one exit: every packet is counted under one reason, and the reason is the verdict. */
static __always_inline int settle(enum reason why, struct frame *f, __u32 ifindex)
{
	__u32 index = why;
	__u64 *n = bpf_map_lookup_elem(&reasons, &index);

	if (n)
		++*n;
	if (forwards(why))
		return ifindex == f->ifindex ? XDP_TX : bpf_redirect(ifindex, 0);
	if (answers(why))
		return XDP_TX;
	return why < FORWARD_HIT ? XDP_PASS : XDP_DROP;
}

static __always_inline int balance(struct xdp_md *ctx)
{
	struct real *real = NULL;
	struct packet p = {};
	struct frame f = {};
	__u32 ifindex = 0;

	decide(ctx, &f, &p, &real);
	if (likely(real)) {
		count_in(&p);
		ifindex = real->ifindex;
		transmit(ctx, &f, real, &p);
	}
	if (p.why < FORWARD_HIT && looks_back(p.why)) {
		struct way w = { .why = p.why };

		reply(ctx, &w);
		p.why = w.why;
		ifindex = w.ifindex;
	}
	if (unlikely(answers(p.why)))
		p.why = answer(ctx, p.why, (void *)f.ip - (void *)f.eth, real ? told_mtu(real) : 0);
	return settle(p.why, &f, ifindex);
}

SEC("xdp")
int lb(struct xdp_md *ctx)
{
	return balance(ctx);
}

/* Ends what has expired, now. Frame: struct order. */
SEC("xdp")
int sweep(struct xdp_md *ctx)
{
	struct walk w = walk_of(END_EXPIRED, NO_REAL);
	struct order *o = order_of(ctx);

	if (!o)
		return XDP_ABORTED;
	o->done = walk_over(o, &w);
	return XDP_PASS;
}

/* Ends the connections of a real server, and then the templates that held them. Frame: struct order. */
SEC("xdp")
int forget(struct xdp_md *ctx)
{
	struct order *o = order_of(ctx);
	struct walk w;

	if (!o)
		return XDP_ABORTED;
	w = walk_of(END_CONNS_OF_REAL, o->real);
	walk_over(o, &w);
	w.ending = END_TEMPLATES_OF_REAL;
	o->done = walk_over(o, &w);
	return XDP_PASS;
}

/* Looks again whether a real server is overloaded: after its thresholds were changed. Frame: struct order. */
SEC("xdp")
int judge(struct xdp_md *ctx)
{
	struct order *o = order_of(ctx);

	if (!o)
		return XDP_ABORTED;
	real_judge(o->real);
	return XDP_PASS;
}

/* Winds the sweep's timer. Run again by a newer program, its callback takes the older one's place. */
SEC("xdp")
int start_sweep(struct xdp_md *ctx)
{
	enum { CLOCK_MONOTONIC = 1 };
	__u32 zero = 0;
	struct sweeper *s = bpf_map_lookup_elem(&sweep_timer, &zero);

	if (!s)
		return XDP_ABORTED;
	bpf_timer_init(&s->timer, &sweep_timer, CLOCK_MONOTONIC); /* -EBUSY: it has been, which is as well */
	if (bpf_timer_set_callback(&s->timer, sweep_turn) || bpf_timer_start(&s->timer, SWEEP_NS, 0))
		return XDP_ABORTED;
	return XDP_PASS;
}

/* Both clocks at one moment, from which user space learns HZ. Frame: struct instant. */
SEC("xdp")
int clock_probe(struct xdp_md *ctx)
{
	struct instant *i = (void *)(long)ctx->data;
	struct tunables *t = settings();

	if ((void *)(i + 1) > (void *)(long)ctx->data_end || !t)
		return XDP_ABORTED;
	i->jiffies = bpf_jiffies64();
	i->ktime = bpf_ktime_get_ns();
	i->tick = tick_now(t);
	return XDP_PASS;
}
