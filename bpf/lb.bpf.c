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
#include "fast.h"
#include "icmp.h"
#include "mss.h"
#include "reply.h"
#include "reply6.h"
#include "full6.h"
#include "related.h"
#include "related6.h"
#include "sweep.h"
#include "learn.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, REASONS + 1);
	__type(key, __u32);
	__type(value, __u64);
} reasons SEC(".maps");

/* Words of shared.h that no map's type holds; only their BTF is wanted. The section is nothing that is loaded. */
struct {
	enum number number;
	enum spare spare;
	enum proxy proxy;
	enum phase phase;
	enum conn_flag conn_flag;
	enum conn_kind conn_kind;
	enum scheduler scheduler;
	enum service_flag service_flag;
	enum service_kind service_kind;
	struct service_key6 service_key6;
	enum real_flag real_flag;
	enum forward forward;
	enum plain plain;
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
	enum learn_outcome learn_outcome;
	struct learned learned;
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
					struct real **real)
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
		} else if (t->expire_nodest_conn) {
			conn_quit(p, c, life);
			return NEXT;
		} else if (packet_begins(p)) {
			return NEXT;
		} else {
			return leave(p, DROP_REAL_GONE);
		}
	}
	if (unlikely(packet_begins(p)) && conn_renewed(c, r, packet_proto(p), life, t))
		return NEXT;
	if (unlikely(!conn_move(c, p, life, 0)))
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

/* No connection: may the packet have one? */
static __always_inline void miss(struct xdp_md *ctx, struct frame *f, struct packet *p, struct tunables *t, struct real **real)
{
	p->tci = f->tci;
	p->ingress = ctx->ingress_ifindex;
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

/* lb has read the packet already, and found no connection. */
static __always_inline void decide_known(struct xdp_md *ctx, struct frame *f, struct packet *p, struct tunables *t, struct real **real, int v6)
{
	p->known = 0;
	f->header = v6 ? sizeof(struct ipv6) : sizeof(struct ipv4);
	if ((void *)f->ip + f->header > f->end) /* for the verifier */
		p->why = PASS_MALFORMED;
	else
		miss(ctx, f, p, t, real);
}

/* Why, and if the packet is to be forwarded, its real server. Both families, whichever the caller says with a constant. */
static __always_inline void decide(struct xdp_md *ctx, struct frame *f, struct packet *p, struct tunables *t, struct real **real, int v6)
{
	struct conn *c;
	__u64 life;

	*p = (struct packet){ .tick = tick_now(t) };
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
	c = conn_look(p, &life);
	if (follow(f, c, life, p, t, real) == NEXT)
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
static __always_inline int back(struct xdp_md *ctx, enum reason why, int v6)
{
	__u32 zero = 0;
	struct packet *p = bpf_map_lookup_elem(&packets, &zero);

	if (!p)
		return XDP_ABORTED;
	p->why = why;
	return detour(ctx, v6 ? ROAD_BACK6 : ROAD_BACK);
}

/* What FULLNAT does with a decided packet takes more than the fast road has room for. */
static __always_inline int full(struct xdp_md *ctx, struct packet *p, int v6)
{
	__u32 zero = 0;
	struct packet *on = bpf_map_lookup_elem(&packets, &zero);

	if (!on)
		return settle(ctx, DROP_NO_ROOM, 0);
	on->why = p->why;
	on->real = p->real;
	on->tick = p->tick;
	return detour(ctx, v6 ? ROAD_FULL6 : ROAD_FULL);
}

/* Does something come from the real server's side that goes back to the client? Replies of NAT, errors about tunnels. */
static __always_inline int comes_again(struct real *r)
{
	return r->forward == FORWARD_MASQ || r->forward == FORWARD_TUNNEL;
}

/* What follows a decision: count, write, or answer. */
static __always_inline int finish(struct xdp_md *ctx, struct frame *f, struct packet *p, struct real *real, int known, int v6)
{
	struct tunables *t = settings();
	__u32 mtu;

	if (likely(real)) {
		count_in(p);
		if (v6 && p->hop && comes_again(real))
			client_comes(p);
		if (known && first_plain(ctx, f, real, p, v6))
			return settle(ctx, p->why, real->ifindex);
		if (transmit(ctx, f, real, p, v6) == DONE)
			return full(ctx, p, v6);
	}
	if (!real && t && looks_back(p->why, t, v6))
		return back(ctx, p->why, v6);
	if (unlikely(f->piece == LATER_FRAGMENT))
		p->why = untold(p->why, v6);
	if (unlikely(answers(p->why)) && p->why != REPLY_TOO_BIG && t && !pace_answer(t, p->tick))
		p->why = DROP_ANSWER;
	if (unlikely(answers(p->why))) {
		mtu = real ? told_mtu(real) : 0;
		p->why = v6 ? answer6(ctx, p->why, f->at, mtu) : answer(ctx, p->why, f->at, mtu);
	}
	return settle(ctx, p->why, real ? real->ifindex : 0);
}

/* TCP's largest segment is told in the SYN alone. */
static __always_inline void clamp(struct xdp_md *ctx, struct frame *f, struct packet *p, struct real *real)
{
	if (unlikely(real && real->mss && packet_begins(p) && packet_proto(p) == PROTO_TCP))
		mss_clamp(ctx, f->at + f->header, real->mss);
}

/* All forms: tags, fragments, options or extension headers; and first packets. */
static __always_inline int road(struct xdp_md *ctx, int v6)
{
	__u32 zero = 0;
	struct packet *p = bpf_map_lookup_elem(&packets, &zero);
	struct tunables *t = settings();
	__u64 tags = sizeof(struct eth);
	struct real *real = NULL;
	struct frame f = {};
	int known;

	if (!t || !p) /* for the verifier: the arrays have this one entry */
		return XDP_ABORTED;
	known = p->known;
	if (!known)
		tags = parse_tags(ctx);
	f.tci = tags >> 32;
	if (frame_behind(ctx, &f, tags & 0xff))
		return settle(ctx, PASS_MALFORMED, 0);
	if (known)
		decide_known(ctx, &f, p, t, &real, v6);
	else
		decide(ctx, &f, p, t, &real, v6);
	clamp(ctx, &f, p, real);
	return finish(ctx, &f, p, real, known, v6);
}

SEC("xdp.frags")
int road4(struct xdp_md *ctx)
{
	return road(ctx, 0);
}

SEC("xdp.frags")
int road6(struct xdp_md *ctx)
{
	return road(ctx, 1);
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

/* The same of IPv6. */
SEC("xdp.frags")
int road_full6(struct xdp_md *ctx)
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
	why = full_request6(ctx, p, &w, tags);
	if (answers(why) && why != REPLY_TOO_BIG && !pace_answer(t, p->tick))
		why = DROP_ANSWER;
	if (answers(why)) {
		r = real_at(p->real);
		why = answer6(ctx, why, tags & 0xff, r ? told_mtu(r) : 0);
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
	struct tunables *t = settings();
	struct way w = { .why = PASS_NOT_SERVICE, .tci = tags >> 32 };
	struct error6 e = {};
	int locals;

	if (!p || !t)
		return settle(ctx, w.why, 0);
	w.why = p->why;
	locals = t->have & HAVE_FULL;
	if (!(locals && full_reply6(ctx, &w, p, at)) && !reply6(ctx, &w, p, at) && error_parse6(ctx, &e, at) &&
	    !(locals && related_to_local6(ctx, &w, p, &e, tags)) && !related_to_server6(ctx, &w, p, &e, tags) &&
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

	if (!t)
		return settle(ctx, PASS_MALFORMED, 0);
	if (type != be16(ETH_IPV4) && type != be16(ETH_IPV6))
		return settle(ctx, PASS_NOT_IP, 0);
	if (!(t >> 8 & 0xff))
		return settle(ctx, PASS_NOT_OURS, 0);
	return detour(ctx, type == be16(ETH_IPV6) ? ROAD_IPV6 : ROAD_IPV4);
}

/* The packet has no connection: what was read of it goes along. */
static __always_inline int arrive(struct xdp_md *ctx, struct packet *q, const __be32 *addr, int v6)
{
	__u32 zero = 0;
	struct packet *p = bpf_map_lookup_elem(&packets, &zero);

	if (!p)
		return XDP_ABORTED;
	p->ports = q->ports;
	for (int i = 0; i < (v6 ? 4 : 1); i++)
		*(__u64 *)(void *)&p->addr[2 * i] = word(addr, i);
	p->ends = word(addr, 0);
	p->hash = q->hash;
	p->length = q->length;
	p->tick = q->tick;
	p->event = q->event;
	p->crowded = q->crowded;
	p->known = 1;
	bpf_tail_call(ctx, &roads, v6 ? ROAD_IPV6 : ROAD_IPV4);
	p->known = 0;
	return settle(ctx, PASS_NO_ROAD, 0);
}

/* What conn_wind has counted could not be sent: it came in, and its reason is another one. */
static __always_inline int unsent(struct xdp_md *ctx, struct conn *c)
{
	struct counters *n = bpf_map_lookup_elem(&real_counters, &c->real);

	if (n) {
		n->hits--;
		n->inpkts++;
	}
	return settle(ctx, DROP_NO_ROOM, 0);
}

/* The fast road of IPv4. */
static __always_inline int balance4(struct xdp_md *ctx, struct frame *f, struct tunables *t, __u32 ingress)
{
	struct tcp *tcp = (void *)(f->ip + 1);
	struct packet p = {};
	enum entry entry;
	struct real *r;
	struct conn *c;
	__u32 wait;
	__u64 life;

	if (unlikely(f->ip->version_ihl != 0x45))
		return detour(ctx, ROAD_IPV4);
	if (unlikely(!filter_has(&f->ip->dst)))
		return comes_back(f->ip, t) ? back(ctx, PASS_NOT_SERVICE, 0) : settle(ctx, PASS_NOT_SERVICE, 0);
	if (unlikely(!plain4(f, &p)))
		return detour(ctx, ROAD_IPV4);
	p.tick = tick_now(t);
	p.hash = conn_hash(f->ip->src, p.ports);
	c = conn_find(&p, &life);
	if (unlikely(!c)) {
		p.event = plain_event(&p, tcp);
		return arrive(ctx, &p, &f->ip->src, 0);
	}
	r = real_of(&c->real);
	/* The line may have changed hands while it was read. */
	if (unlikely(!r || READ_ONCE(c->life) != life || !conn_stays(&p, tcp, life, t, &wait) || !departs(r, &p, f->ip->ttl)))
		return detour(ctx, ROAD_IPV4);
	if (likely(r->plain == PLAIN_ROUTE)) {
		conn_wind(c, &p, wait);
		ttl_less_one(f->ip);
		eth_write(f->eth, r);
		return sent(r, ingress);
	}
	if (r->plain == PLAIN_MASQ) {
		conn_wind(c, &p, wait);
		nat_plain(f->ip, r, &p);
		eth_write(f->eth, r);
		return sent(r, ingress);
	}
	entry = tunnel_plain(ctx, c, r, &p, tcp, wait, 0);
	if (likely(entry == ENTRY_MADE))
		return sent(r, ingress);
	if (entry == ENTRY_NO_ROOM)
		return unsent(ctx, c);
	return detour(ctx, ROAD_IPV4);
}

/* The fast road of IPv6. */
static __always_inline int balance6(struct xdp_md *ctx, struct frame *f, struct tunables *t, __u32 ingress)
{
	struct ipv6 *ip = f->ip6;
	struct tcp *tcp = (void *)(ip + 1);
	struct packet p = {};
	enum entry entry;
	struct real *r;
	struct conn *c;
	__u32 wait;
	__u64 life;

	if (unlikely((void *)(tcp + 1) > f->end || (ip->version_class_flow & 0xf0) != 0x60))
		return detour(ctx, ROAD_IPV6);
	if (unlikely(!filter_has6(ip->dst)))
		return comes_back6(ip, t) ? back(ctx, PASS_NOT_SERVICE, 1) : settle(ctx, PASS_NOT_SERVICE, 0);
	if (unlikely(!plain6(f, &p)))
		return detour(ctx, ROAD_IPV6);
	p.tick = tick_now(t);
	p.hash = conn_hash6(ip->src, p.ports);
	c = conn_find6(&p, ip->src, &life);
	if (unlikely(!c)) {
		p.event = plain_event(&p, tcp);
		return arrive(ctx, &p, ip->src, 1);
	}
	r = real_of(&c->real);
	if (unlikely(!r || READ_ONCE(c->life) != life || !conn_stays(&p, tcp, life, t, &wait) || !departs(r, &p, ip->hop_limit)))
		return detour(ctx, ROAD_IPV6);
	if (likely(r->plain == PLAIN_ROUTE)) {
		conn_wind(c, &p, wait);
		ip->hop_limit--;
		eth_write(f->eth, r);
		return sent(r, ingress);
	}
	if (r->plain == PLAIN_MASQ) {
		conn_wind(c, &p, wait);
		nat_plain6(ip, r, &p);
		eth_write(f->eth, r);
		return sent(r, ingress);
	}
	entry = tunnel_plain(ctx, c, r, &p, tcp, wait, 1);
	if (likely(entry == ENTRY_MADE))
		return sent(r, ingress);
	if (entry == ENTRY_NO_ROOM)
		return unsent(ctx, c);
	return detour(ctx, ROAD_IPV6);
}

/* Where every packet begins. */
static __always_inline int balance(struct xdp_md *ctx)
{
	struct tunables *t = settings();
	__u32 ingress = ctx->ingress_ifindex;
	struct frame f = {};

	frame_at(ctx, &f, sizeof(struct eth));
	if (unlikely((void *)(f.ip + 1) + sizeof(struct tcp) > f.end || !comes_to_us(ingress, f.eth)))
		return other(ctx);
	if (f.eth->type == be16(ETH_IPV4))
		return balance4(ctx, &f, t, ingress);
	return f.eth->type == be16(ETH_IPV6) ? balance6(ctx, &f, t, ingress) : other(ctx);
}

#ifndef WITHOUT_LB
SEC("xdp.frags")
int lb(struct xdp_md *ctx)
{
	return balance(ctx);
}
#endif

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

/* Takes over what another director told. Frame: struct learned, up to LEARN_MOST of them, which are some pages. */
SEC("xdp.frags")
int learn(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct lessons all = { .ctx = ctx, .one = bpf_map_lookup_elem(&lesson, &zero) };

	bpf_loop(LEARN_MOST, learn_next, &all, 0);
	return all.done ? XDP_PASS : XDP_ABORTED;
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
