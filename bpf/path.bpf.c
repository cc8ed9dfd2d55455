//go:build ignore

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * path.bpf.c: a check goes the way of the traffic. Its socket is connected to the real server's own address, so that the host's
 * routes and neighbours lead to it; as the packet leaves, its destination becomes the virtual address, and with a tunnel it is
 * packed as the packet path does. What the real server gets is a client's packet, whose client is the director. Its answers come
 * from the virtual address, which the host would not take for the socket's (nor, having it itself, for anybody's): as they
 * come in their source becomes the real server's address again.
 *
 * Of which socket is known by its cookie, so that nothing else that the host sends is touched, and no mark is needed. The
 * programs hang at the host's side of the stack (tc), where the sockets of this host alone are seen on the way out.
 */
#include "headers/bpf.h"
#include "headers/net.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

enum path_outcome {
	PATH_OTHER,      /* no packet of a check */
	PATH_STRANGE,    /* of a check, and not TCP, UDP or an echo: it goes as it is */
	PATH_LOST,       /* the kernel refused a change: it is dropped */
	PATH_SENT,
	PATH_PACKED,     /* sent, in a tunnel */
	PATH_BACK,       /* an answer */
	PATH_OUTCOMES,
};

enum path_tunnel { PATH_NONE, PATH_IPIP, PATH_GUE, PATH_GRE };

/* Addresses of IPv4 in the first word. */
struct path {
	__be32 vip[4];
	__be32 real[4], source[4]; /* of the outer header */
	__u8 v6, outer_v6, tunnel, spare;
	__be16 port;             /* of GUE */
	__u16 spare2;
};

/* An answer, as it comes in. */
struct path_flow {
	__be32 vip[4], local[4];
	__be16 vport, lport;
	__u8 proto, v6;
	__u16 spare;
};

/* Who an answer is from. It holds as long as the check that asked: its cookie goes with it, and a port may come again. */
struct path_real {
	__be32 addr[4];
	__u64 cookie;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct path);
} path_sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct path_flow);
	__type(value, struct path_real);
} path_flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PATH_OUTCOMES);
	__type(key, __u32);
	__type(value, __u64);
} path_outcomes SEC(".maps");

enum { TC_ACT_UNSPEC = -1, TC_ACT_SHOT = 2 };
enum step { NEXT, DONE };

/* struct __sk_buff, of which nothing is read: what a frame says is asked of the helpers, wherever its bytes lie. */
struct __sk_buff {
	__u32 len;
};

static __s64 (*const bpf_skb_store_bytes)(struct __sk_buff *skb, __u32 at, const void *from, __u32 length, __u64 flags) = (void *)9;
static __s64 (*const bpf_l3_csum_replace)(struct __sk_buff *skb, __u32 at, __u64 from, __u64 to, __u64 flags) = (void *)10;
static __s64 (*const bpf_l4_csum_replace)(struct __sk_buff *skb, __u32 at, __u64 from, __u64 to, __u64 flags) = (void *)11;
static __s64 (*const bpf_skb_load_bytes)(struct __sk_buff *skb, __u32 at, void *to, __u32 length) = (void *)26;
static __s64 (*const bpf_csum_diff)(const __be32 *from, __u32 from_size, const __be32 *to, __u32 to_size, __u32 seed) = (void *)28;
static __s64 (*const bpf_skb_adjust_room)(struct __sk_buff *skb, int length, __u32 mode, __u64 flags) = (void *)50;

enum { BPF_F_PSEUDO_HDR = 1 << 4, BPF_F_MARK_MANGLED_0 = 1 << 5 };
enum { ROOM_MAC = 1, ROOM_IPV4 = 1 << 1, ROOM_IPV6 = 1 << 2, ROOM_GRE = 1 << 3, ROOM_UDP = 1 << 4 };
enum { ECHO = 8, ECHO_REPLY = 0, ECHO6 = 128, ECHO6_REPLY = 129 };

/* What is known of a packet of a check. */
struct seen {
	struct path_flow flow;   /* as its answer has it */
	__be32 addr[4];          /* that is to be replaced */
	__u32 l4;                /* where the transport header stands */
	__u32 length;            /* of the IP packet */
	__u8 tos, ttl;
	enum path_outcome why;
};

static __always_inline enum step leave(struct seen *s, enum path_outcome why)
{
	s->why = why;
	return DONE;
}

/* The ports; of an echo its identifier, on the director's side. */
static __always_inline enum step ports(struct __sk_buff *skb, struct seen *s, int out)
{
	__be16 port[2];
	__u8 type, want;

	if (s->flow.proto == PROTO_TCP || s->flow.proto == PROTO_UDP) {
		if (bpf_skb_load_bytes(skb, s->l4, port, sizeof(port)))
			return leave(s, PATH_STRANGE);
		s->flow.lport = port[!out];
		s->flow.vport = port[out];
		return NEXT;
	}
	if (s->flow.proto != (s->flow.v6 ? PROTO_ICMPV6 : PROTO_ICMP))
		return leave(s, PATH_STRANGE);
	want = s->flow.v6 ? (out ? ECHO6 : ECHO6_REPLY) : (out ? ECHO : ECHO_REPLY);
	if (bpf_skb_load_bytes(skb, s->l4, &type, sizeof(type)) || type != want || bpf_skb_load_bytes(skb, s->l4 + 4, &s->flow.lport, 2))
		return leave(s, PATH_STRANGE);
	return NEXT;
}

/* Fragments have no ports, and checks send none. */
static __always_inline enum step look4(struct __sk_buff *skb, struct seen *s, int out)
{
	struct ipv4 ip;

	if (bpf_skb_load_bytes(skb, sizeof(struct eth), &ip, sizeof(ip)) || ip.frag & be16(IP_MF | IP_OFFSET))
		return leave(s, PATH_STRANGE);
	s->l4 = sizeof(struct eth) + (ip.version_ihl & 15) * 4;
	s->length = be16(ip.length);
	s->tos = ip.tos;
	s->ttl = ip.ttl;
	s->flow.proto = ip.proto;
	s->flow.local[0] = out ? ip.src : ip.dst;
	s->flow.vip[0] = s->addr[0] = out ? ip.dst : ip.src;
	return ports(skb, s, out);
}

static __always_inline enum step look6(struct __sk_buff *skb, struct seen *s, int out)
{
	struct ipv6 ip;

	if (bpf_skb_load_bytes(skb, sizeof(struct eth), &ip, sizeof(ip)))
		return leave(s, PATH_STRANGE);
	s->l4 = sizeof(struct eth) + sizeof(ip);
	s->length = be16(ip.length) + sizeof(ip);
	s->tos = be32(ip.version_class_flow) >> 20;
	s->ttl = ip.hop_limit;
	s->flow.proto = ip.next;
	s->flow.v6 = 1;
	__builtin_memcpy(s->flow.local, out ? ip.src : ip.dst, 16);
	__builtin_memcpy(s->flow.vip, out ? ip.dst : ip.src, 16);
	__builtin_memcpy(s->addr, s->flow.vip, 16);
	return ports(skb, s, out);
}

static __always_inline enum step look(struct __sk_buff *skb, struct seen *s, int out)
{
	__be16 type = 0;

	bpf_skb_load_bytes(skb, 12, &type, sizeof(type));
	if (type == be16(ETH_IPV4))
		return look4(skb, s, out);
	if (type == be16(ETH_IPV6))
		return look6(skb, s, out);
	return leave(s, PATH_OTHER);
}

/* One address becomes another, the checksums with it. What device or stack has yet to sum (CHECKSUM_PARTIAL) the helper knows. */
static __always_inline enum step readdress(struct __sk_buff *skb, struct seen *s, const __be32 *to, int out)
{
	__u32 size = s->flow.v6 ? 16 : 4, at;
	__s64 diff = bpf_csum_diff(s->addr, size, to, size, 0);

	if (diff < 0)
		return leave(s, PATH_LOST);
	at = s->flow.proto == PROTO_TCP ? 16 : s->flow.proto == PROTO_UDP ? 6 : s->flow.v6 ? 2 : 0;
	if (at && bpf_l4_csum_replace(skb, s->l4 + at, 0, diff, BPF_F_PSEUDO_HDR | (at == 6 ? BPF_F_MARK_MANGLED_0 : 0)))
		return leave(s, PATH_LOST);
	if (!s->flow.v6 && bpf_l3_csum_replace(skb, sizeof(struct eth) + 10, 0, diff, 0))
		return leave(s, PATH_LOST);
	at = sizeof(struct eth) + (s->flow.v6 ? (out ? 24 : 8) : (out ? 16 : 12));
	if (bpf_skb_store_bytes(skb, at, to, size, 0))
		return leave(s, PATH_LOST);
	return NEXT;
}

/* What stands between the outer header and the packet, as tunnel.h has it, without checksums. */
static __always_inline __u32 front_of(struct path *p, struct seen *s, __u8 *front)
{
	if (p->tunnel == PATH_GUE) {
		struct udp *udp = (void *)front;

		*udp = (struct udp){ .sport = s->flow.lport | be16(0xc000), .dport = p->port, .length = be16(s->length + 12) };
		front[9] = s->flow.v6 ? PROTO_IPV6 : PROTO_IPIP;
		return 12;
	}
	if (p->tunnel != PATH_GRE)
		return 0;
	*(__be16 *)(front + 2) = s->flow.v6 ? be16(ETH_IPV6) : be16(ETH_IPV4);
	return 4;
}

static __always_inline __u8 proto_of(struct path *p, struct seen *s)
{
	return p->tunnel == PATH_GUE ? PROTO_UDP : p->tunnel == PATH_GRE ? PROTO_GRE : s->flow.v6 ? PROTO_IPV6 : PROTO_IPIP;
}

static __always_inline __u16 header_sum(struct ipv4 *ip)
{
	__u32 sum = bpf_csum_diff(NULL, 0, (void *)ip, sizeof(*ip), 0);

	sum = (sum & 0xffff) + (sum >> 16);
	return ~((sum & 0xffff) + (sum >> 16));
}

static __always_inline enum step pack(struct __sk_buff *skb, struct path *p, struct seen *s)
{
	__u8 front[12] = {};
	__u32 behind = front_of(p, s, front), header = p->outer_v6 ? sizeof(struct ipv6) : sizeof(struct ipv4);
	__be16 type = p->outer_v6 ? be16(ETH_IPV6) : be16(ETH_IPV4);
	__u64 flags = p->outer_v6 ? ROOM_IPV6 : ROOM_IPV4;

	flags |= p->tunnel == PATH_GUE ? ROOM_UDP : p->tunnel == PATH_GRE ? ROOM_GRE : 0;
	if (bpf_skb_adjust_room(skb, header + behind, ROOM_MAC, flags))
		return leave(s, PATH_LOST);
	if (p->outer_v6) {
		struct ipv6 ip = { .version_class_flow = be32(6 << 28 | (__u32)s->tos << 20), .length = be16(s->length + behind),
				   .next = proto_of(p, s), .hop_limit = s->ttl };

		__builtin_memcpy(ip.src, p->source, 16);
		__builtin_memcpy(ip.dst, p->real, 16);
		if (bpf_skb_store_bytes(skb, sizeof(struct eth), &ip, sizeof(ip), 0))
			return leave(s, PATH_LOST);
	} else {
		struct ipv4 ip = { .version_ihl = 0x45, .tos = s->tos, .length = be16(s->length + behind + sizeof(ip)), .frag = be16(IP_DF),
				   .ttl = s->ttl, .proto = proto_of(p, s), .src = p->source[0], .dst = p->real[0] };

		ip.check = header_sum(&ip);
		if (bpf_skb_store_bytes(skb, sizeof(struct eth), &ip, sizeof(ip), 0))
			return leave(s, PATH_LOST);
	}
	if (behind == 12 && bpf_skb_store_bytes(skb, sizeof(struct eth) + header, front, 12, 0))
		return leave(s, PATH_LOST);
	if (behind == 4 && bpf_skb_store_bytes(skb, sizeof(struct eth) + header, front, 4, 0))
		return leave(s, PATH_LOST);
	if (bpf_skb_store_bytes(skb, 12, &type, sizeof(type), 0))
		return leave(s, PATH_LOST);
	return leave(s, PATH_PACKED);
}

static __always_inline enum step sends(struct __sk_buff *skb, struct seen *s)
{
	__u64 cookie = bpf_get_socket_cookie(skb);
	struct path_real real = { .cookie = cookie };
	struct path *p;

	p = cookie ? bpf_map_lookup_elem(&path_sockets, &cookie) : NULL;
	if (!p)
		return leave(s, PATH_OTHER);
	if (look(skb, s, 1) == DONE)
		return DONE;
	if (s->flow.v6 != p->v6)
		return leave(s, PATH_STRANGE);
	__builtin_memcpy(real.addr, s->addr, 16);
	__builtin_memcpy(s->flow.vip, p->vip, 16);
	bpf_map_update_elem(&path_flows, &s->flow, &real, 0);
	if (readdress(skb, s, p->vip, 1) == DONE)
		return DONE;
	return p->tunnel == PATH_NONE ? leave(s, PATH_SENT) : pack(skb, p, s);
}

static __always_inline enum step answers(struct __sk_buff *skb, struct seen *s)
{
	struct path_real *real;

	if (look(skb, s, 0) == DONE)
		return leave(s, PATH_OTHER);
	real = bpf_map_lookup_elem(&path_flows, &s->flow);
	if (!real || !bpf_map_lookup_elem(&path_sockets, &real->cookie))
		return leave(s, PATH_OTHER);
	if (readdress(skb, s, real->addr, 0) == DONE)
		return DONE;
	return leave(s, PATH_BACK);
}

static __always_inline int count(struct seen *s)
{
	__u32 key = s->why;
	__u64 *n = bpf_map_lookup_elem(&path_outcomes, &key);

	if (n)
		(*n)++;
	return s->why == PATH_LOST ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

SEC("tc")
int path_out(struct __sk_buff *skb)
{
	struct seen s = {};

	sends(skb, &s);
	return count(&s);
}

SEC("tc")
int path_in(struct __sk_buff *skb)
{
	struct seen s = {};

	answers(skb, &s);
	return count(&s);
}

/* Only their BTF is wanted, as of words in lb.bpf.c. */
struct {
	enum path_outcome path_outcome;
	enum path_tunnel path_tunnel;
} words SEC(".words");
