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
#include "vlan.h"
#include "ipv6.h"
#include "fragment.h"
#include "peer.h"
#include "transmit.h"
#include "icmp.h"
#include "mss.h"
#include "reply.h"
#include "reply6.h"
#include "related.h"
#include "related6.h"
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
	enum returning returning;
	enum phase phase;
	enum conn_flag conn_flag;
	enum conn_kind conn_kind;
	enum scheduler scheduler;
	enum service_flag service_flag;
	enum service_kind service_kind;
	struct service_key6 service_key6;
	enum real_flag real_flag;
	enum forward forward;
	struct peer_key peer_key;
	struct station station;
	enum vlan_tag vlan_tag;
	struct fragment_key fragment_key;
	struct client_key client_key;
	enum tunnel tunnel;
	enum tunnel_flag tunnel_flag;
	enum have have;
	enum road road;
	enum reason reason;
	struct order order;
	struct instant instant;
	struct meta meta;
	/* These have no forward declarations then, whose order in the BTF is not the same everywhere. */
	struct eth eth;
	struct ipv4 ipv4;
	struct ipv6 ipv6;
} words SEC(".words");

/* The connection decides where the packet goes; NEXT: there is none that will do. */
static __always_inline enum step follow(struct frame *f, struct conn *c, __u64 life, struct packet *p, struct tunables *t,
					struct real **real, int fast)
{
	struct real *r;

	if (unlikely(!c))
		return NEXT;
	p->real = READ_ONCE(c->real);
	/* A line that changed hands while it was read is looked for again under its region's lock. */
	if (unlikely((READ_ONCE(c->life) ^ life) & LIFE_GENERATION))
		return NEXT;
	r = real_at(p->real);
	if (unlikely(!r || r->flags & (REAL_GONE | REAL_PEER))) {
		if (r && !(r->flags & REAL_GONE)) {
			/* From the director that it would go to: peer.h says what that means. */
			if (sent_by(f, r))
				return NEXT;
		} else if (packet_begins(p) || t->expire_nodest_conn) {
			return NEXT;
		} else {
			return leave(p, DROP_REAL_GONE);
		}
	}
	if (unlikely(packet_begins(p)) && ((fast && t->have & HAVE_MSS) || conn_renewed(c, r, packet_proto(p), life, t)))
		return NEXT;
	if (unlikely(!conn_move(c, p, life, t, 0)))
		return NEXT;
	*real = r;
	return leave(p, FORWARD_HIT);
}

/* The real server that packet.real says, or a reason against it. */
static __always_inline void towards(struct packet *p, struct real **real)
{
	if (!forwards(p->why))
		return;
	*real = real_at(p->real);
	if (!*real || (*real)->flags & REAL_GONE) {
		*real = NULL;
		p->why = DROP_REAL_GONE;
	}
}

/* The interface that it came in by, as the host would say it: a VLAN's. */
static __always_inline __u32 came_by(struct xdp_md *ctx, struct frame *f)
{
	__u32 by = READ_ONCE(ctx->ingress_ifindex); /* else clang makes one load of either, by an address in ctx that it adds up */
	__u32 *vlan = f->tci ? station_of(by, f->tci, f->tci >> 16, f->eth) : NULL;

	return vlan ? *vlan : by;
}

/* No connection: may the packet have one? */
static __always_inline void miss(struct xdp_md *ctx, struct frame *f, struct packet *p, struct tunables *t, struct real **real)
{
	p->tci = f->tci;
	p->ingress = ctx->ingress_ifindex;
	if (t->have & HAVE_PEERS && from_director(f, p)) {
		p->why = PASS_FROM_DIRECTOR;
		return;
	}
	if (t->have & HAVE_SIP && packet_proto(p) == PROTO_UDP)
		sip_read(ctx, f->at + f->header + sizeof(struct udp), p->length - f->header - sizeof(struct udp));
	p->hop = hop_make(f->eth->src, came_by(ctx, f));
	p->why = admit(p);
	towards(p, real);
}

/* A fragment that is not the first has no ports. */
static __always_inline void rest_of(struct frame *f, struct packet *p, struct real **real)
{
	p->why = fragment_find(f, p);
	towards(p, real);
}

/* Why, and if the packet is to be forwarded, its real server. Both families, whichever the caller says with a constant. */
static __always_inline void decide(struct xdp_md *ctx, struct frame *f, struct packet *p, struct tunables *t, struct real **real, int v6)
{
	struct conn *c;
	__u64 life;

	if ((v6 ? parse_ipv6(ctx, f, p) : parse_ipv4(f, p)) == DONE)
		return;
	if (!v6)
		*(__u64 *)(void *)p->addr = p->ends;
	if (f->piece == LATER_FRAGMENT) {
		rest_of(f, p, real);
		return;
	}
	if (parse_transport(ctx, f, p) == DONE)
		return;
	p->hash = key_hash(p->addr, p->ports);
	c = v6 ? conn_find6(p, &life) : conn_find(p, &life);
	if (follow(f, c, life, p, t, real, 0) == NEXT)
		miss(ctx, f, p, t, real);
	if (*real && f->piece == FIRST_FRAGMENT)
		fragment_keep(f, p);
}

/* The one exit: every packet is counted under one reason, and the reason is the verdict. */
static __always_inline int settle(struct xdp_md *ctx, enum reason why, __u32 to)
{
	__u32 index = why;
	__u64 *n = bpf_map_lookup_elem(&reasons, &index);

	if (n)
		++*n;
	if (forwards(why))
		return to == ctx->ingress_ifindex ? XDP_TX : bpf_redirect(to, 0);
	if (why < FORWARD_HIT)
		return XDP_PASS;
	return answers(why) ? XDP_TX : XDP_DROP;
}

/*
 * The other roads are programs of their own, for the stack (512 bytes for all calls from a program) and the verifier's sake,
 * and because a tail call costs a sixteenth of a call. User space fills the array; who finds none is the host's.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, ROADS);
	__type(key, __u32);
	__type(value, __u32);
} roads SEC(".maps");

static __always_inline int detour(struct xdp_md *ctx, enum road road)
{
	bpf_tail_call(ctx, &roads, road);
	return settle(ctx, PASS_NO_ROAD, 0);
}

/* What would be the host's, but may belong to a connection the other way. */
static __always_inline int back(struct xdp_md *ctx, enum reason why, struct tunables *t, int v6)
{
	__u32 zero = 0;
	struct packet *p = bpf_map_lookup_elem(&packets, &zero);

	if (!p || !looks_back(why, t, v6))
		return settle(ctx, why, 0);
	p->why = why;
	return detour(ctx, v6 ? ROAD_BACK6 : ROAD_BACK);
}

/* What FULLNAT does with a decided packet takes more than the fast road has room for. */
static __always_inline int full(struct xdp_md *ctx, struct packet *p)
{
	__u32 zero = 0;
	struct packet *on = bpf_map_lookup_elem(&packets, &zero);

	if (!on)
		return settle(ctx, DROP_NO_ROOM, 0);
	on->why = p->why;
	on->real = p->real;
	on->tick = p->tick;
	return detour(ctx, ROAD_FULL);
}

/* What follows a decision: count, write, or answer. */
static __always_inline int finish(struct xdp_md *ctx, struct frame *f, struct packet *p, struct real *real, int v6)
{
	struct tunables *t = settings();
	__u32 ifindex = 0, mtu;

	if (likely(real)) {
		count_in(p);
		ifindex = real->ifindex;
		if (transmit(ctx, f, real, p, v6) == DONE)
			return full(ctx, p);
	}
	if (!real && t && looks_back(p->why, t, v6))
		return back(ctx, p->why, t, v6);
	if (unlikely(f->piece == LATER_FRAGMENT))
		p->why = untold(p->why, v6);
	if (unlikely(answers(p->why)) && p->why != REPLY_TOO_BIG && t && !pace_answer(t, p->tick))
		p->why = DROP_ANSWER;
	if (unlikely(answers(p->why))) {
		mtu = real ? told_mtu(real) : 0;
		p->why = v6 ? answer6(ctx, p->why, f->at, mtu) : answer(ctx, p->why, f->at, mtu);
	}
	return settle(ctx, p->why, ifindex);
}

static __always_inline int forward(struct xdp_md *ctx, struct frame *f, int v6)
{
	__u32 zero = 0;
	struct packet *p = bpf_map_lookup_elem(&packets, &zero);
	struct tunables *t = settings();
	struct real *real = NULL;

	if (!t || !p) /* for the verifier: the arrays have this one entry */
		return XDP_ABORTED;
	*p = (struct packet){ .tick = tick_now(t) };
	decide(ctx, f, p, t, &real, v6);
	if (unlikely(real && real->mss && packet_begins(p) && packet_proto(p) == PROTO_TCP))
		mss_clamp(ctx, f->at + f->header, real->mss);
	return finish(ctx, f, p, real, v6);
}

/* A packet at whose link header parse_tags has looked. */
static __always_inline int forward_tagged(struct xdp_md *ctx, __u64 tags, int v6)
{
	struct frame f = { .tci = tags >> 32 };

	if (frame_behind(ctx, &f, tags & 0xff))
		return settle(ctx, PASS_MALFORMED, 0);
	return forward(ctx, &f, v6);
}

/* IPv4 in all its forms: tags, fragments, first packets. */
SEC("xdp.frags")
int road4(struct xdp_md *ctx)
{
	return forward_tagged(ctx, parse_tags(ctx), 0);
}

SEC("xdp.frags")
int road6(struct xdp_md *ctx)
{
	struct eth *eth = (void *)(long)ctx->data;
	__u64 tags = sizeof(*eth);

	if (unlikely((void *)(eth + 1) > (void *)(long)ctx->data_end || eth->type != be16(ETH_IPV6)))
		tags = parse_tags(ctx);
	return forward_tagged(ctx, tags, 1);
}

/* The frame is ours, IPv4, decided and counted: that stands in packets. */
SEC("xdp.frags")
int road_full(struct xdp_md *ctx)
{
	__u64 tags = parse_tags(ctx);
	__u32 zero = 0;
	struct packet *p = bpf_map_lookup_elem(&packets, &zero);
	struct tunables *t = settings();
	struct way w = {};
	struct real *r;
	enum reason why;

	if (!p || !t)
		return settle(ctx, DROP_NO_ROOM, 0);
	why = full_request(ctx, p, &w, tags);
	if (answers(why) && why != REPLY_TOO_BIG && !pace_answer(t, p->tick))
		why = DROP_ANSWER;
	if (answers(why)) {
		r = real_at(p->real);
		why = answer(ctx, why, tags & 0xff, r ? told_mtu(r) : 0);
	}
	return settle(ctx, why, w.ifindex);
}

/* The frame is ours and IPv4: another road has seen that, and left in packets why it would be the host's. */
SEC("xdp.frags")
int road_back(struct xdp_md *ctx)
{
	__u64 tags = parse_tags(ctx);
	__u32 zero = 0, at = tags & 0xff;
	struct packet *p = bpf_map_lookup_elem(&packets, &zero);
	struct tunables *t = settings();
	struct way w = { .why = PASS_NOT_SERVICE, .tci = tags >> 32 };

	if (!p || !t)
		return settle(ctx, w.why, 0);
	w.why = p->why;
	if (!(t->have & HAVE_FULL && (full_reply(ctx, &w, p, at) || related_to_local(ctx, &w, p, at))) && !reply(ctx, &w, p, at) && !related_to_server(ctx, &w, p, at, tags >> 32) && !related_to_client(ctx, &w, p, at))
		related_to_tunnel(ctx, &w, at);
	if (forwards(w.why) && w.tci != (__u32)(tags >> 32) && relink(ctx, at, w.tci) == DONE)
		w.why = DROP_NO_ROOM;
	return settle(ctx, w.why, w.ifindex);
}

/* The same of IPv6. */
SEC("xdp.frags")
int road_back6(struct xdp_md *ctx)
{
	__u64 tags = parse_tags(ctx);
	__u32 zero = 0, at = tags & 0xff;
	struct packet *p = bpf_map_lookup_elem(&packets, &zero);
	struct way w = { .why = PASS_NOT_SERVICE, .tci = tags >> 32 };
	struct error6 e = {};

	if (!p)
		return settle(ctx, w.why, 0);
	w.why = p->why;
	if (!reply6(ctx, &w, p, at) && error_parse6(ctx, &e, at) && !related_to_server6(ctx, &w, p, &e, tags) &&
	    !related_to_client6(ctx, &w, p, &e, tags))
		related_to_tunnel6(ctx, &w, &e, tags);
	if (forwards(w.why) && w.tci != (__u32)(tags >> 32) && relink(ctx, at, w.tci) == DONE)
		w.why = DROP_NO_ROOM;
	return settle(ctx, w.why, w.ifindex);
}

/* What is not IPv4 at first sight, or not to this interface's own address. */
static __always_inline int other(struct xdp_md *ctx)
{
	__u64 t = parse_tags(ctx);
	__be16 type = t >> 16;

	if (type != be16(ETH_IPV4) && type != be16(ETH_IPV6))
		return settle(ctx, PASS_NOT_IP, 0);
	if (!(t >> 8 & 0xff))
		return settle(ctx, PASS_NOT_OURS, 0);
	return detour(ctx, type == be16(ETH_IPV6) ? ROAD_IPV6 : ROAD_IPV4);
}

/*
 * The fast road: an IPv4 packet without tag, whole, whose connection lives. Nothing here has its address taken, so that all
 * stays in registers. Anything else begins anew on another road, which costs it a few nanoseconds.
 */
static __always_inline int balance(struct xdp_md *ctx)
{
	struct tunables *t = settings();
	struct real *real = NULL;
	struct packet p = {};
	struct frame f = {};
	struct conn *c;
	__u64 life;

	frame_at(ctx, &f, sizeof(struct eth));
	if (unlikely((void *)f.ip > f.end || !t))
		return settle(ctx, PASS_MALFORMED, 0);
	if (unlikely(f.eth->type != be16(ETH_IPV4)) || unlikely(!link_is(link_at(ctx->ingress_ifindex), f.eth)))
		return other(ctx);
	p.tick = tick_now(t);
	if (unlikely(parse_ipv4(&f, &p) == DONE))
		return back(ctx, p.why, t, 0);
	if (unlikely(f.piece != WHOLE))
		return detour(ctx, ROAD_IPV4);
	if (unlikely(parse_transport(ctx, &f, &p) == DONE))
		return back(ctx, p.why, t, 0);
	p.hash = conn_hash((__u32)p.ends, p.ports);
	c = conn_find(&p, &life);
	if (unlikely(follow(&f, c, life, &p, t, &real, 1) == NEXT))
		return detour(ctx, ROAD_IPV4);
	return finish(ctx, &f, &p, real, 0);
}

SEC("xdp.frags")
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

/* Gives up what drop_entry may. Frame: struct order. */
SEC("xdp")
int defend(struct xdp_md *ctx)
{
	struct walk w = walk_of(END_DISPENSABLE, NO_REAL);
	struct order *o = order_of(ctx);

	if (!o)
		return XDP_ABORTED;
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
