/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bpf.h: what this program needs of the BPF machine, and no more. Declared here rather than taken from the system's
 * headers, so that the object's bytes (BTF holds every type) do not change with the package that happens to be installed.
 * Numbers are the kernel's ABI (include/uapi/linux/bpf.h).
 */
#ifndef VIPD_BPF_H
#define VIPD_BPF_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef int __s32;
typedef long long __s64;
typedef __u32 __attribute__((may_alias)) any32; /* a word of what is written and read otherwise too */
typedef __u64 __attribute__((may_alias)) any64;
typedef __u16 __be16;
typedef __u32 __be32;

#define NULL ((void *)0)
#define SEC(name) __attribute__((section(name), used))
/* Of one value, which user space has as a map (Load in load.go); hidden, for it is no variable to it. */
#define SECTION(name) __attribute__((section(name), used, visibility("hidden")))
#define __always_inline inline __attribute__((always_inline))
#define __noinline __attribute__((noinline))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* One load or store that the compiler neither repeats nor leaves out. */
#define READ_ONCE(x) (*(volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))

/*
 * Behind all stores so far: whoever sees this one sees them. Stores stay in order on x86; another architecture would need a
 * release here, which BPF has from 6.15 on. An exchange would do everywhere, and costs seven nanoseconds.
 */
#define WRITE_LAST(x, v) do { __asm__ volatile("" : : : "memory"); WRITE_ONCE(x, v); } while (0)

/*
 * One load, whatever clang knows of the alignment: it would put four bytes of a MAC together from single ones. On x86 and
 * arm64 the kernel lets every load of frames and maps be unaligned.
 */
static __always_inline __u16 load16(const void *at)
{
	return *(const __u16 *)at;
}

static __always_inline __u32 load32(const void *at)
{
	return *(const __u32 *)at;
}

static __always_inline __u64 load64(const void *at)
{
	return *(const __u64 *)at;
}

/* One store, in the same way: of eight bytes clang would make four of two, and whoever loads all eight waits for them. */
static __always_inline void store64(void *at, __u64 value)
{
	*(__u64 *)at = value;
}

static __always_inline void store32(void *at, __u32 value)
{
	*(__u32 *)at = value;
}

/* The compiler forgets what it knows of x: for a mask that the verifier needs to see and clang would prove away. */
#define forget_bounds(x) __asm__ volatile("" : "+r"(x))

#define be16(x) ((__be16)__builtin_bswap16(x))
#define be32(x) ((__be32)__builtin_bswap32(x))

/* Map definitions are types: what they say is read from BTF. */
#define __uint(name, value) int (*name)[value]
#define __type(name, t) __typeof__(t) *name

enum {
	BPF_MAP_TYPE_HASH = 1, BPF_MAP_TYPE_ARRAY = 2, BPF_MAP_TYPE_PROG_ARRAY = 3, BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
};
enum { BPF_F_NO_PREALLOC = 1, BPF_F_MMAPABLE = 1 << 10 };

enum xdp_action { XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX, XDP_REDIRECT };

struct xdp_md {
	__u32 data, data_end, data_meta;
	__u32 ingress_ifindex, rx_queue_index, egress_ifindex;
};

struct bpf_sock {
	__u32 bound_dev_if, family, type, protocol, mark, priority;
	__be32 src_ip4, src_ip6[4];
	__u32 src_port;          /* in host order */
};

struct bpf_sock_addr {
	__u32 user_family;       /* of the address that was given; behind it, that address */
	__be32 user_ip4, user_ip6[4];
	__u32 user_port;         /* be16 */
	__u32 family, type, protocol; /* of the socket */
	__be32 msg_src_ip4, msg_src_ip6[4];
	struct bpf_sock *sk;
};

struct bpf_fib_lookup {
	__u8 family, l4_protocol;
	__be16 sport, dport;
	__u16 length;            /* answer: the MTU of the way */
	__u32 ifindex;           /* where the packet came in; answer: where it leaves */
	__u32 tos;
	__be32 src[4], dst[4];
	__u32 table;
	__u8 smac[6], dmac[6];
};

struct bpf_timer {
	__u64 opaque[2];
} __attribute__((aligned(8)));

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static __s64 (*const bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) = (void *)2;
static __u64 (*const bpf_ktime_get_ns)(void) = (void *)5;
static __u32 (*const bpf_get_prandom_u32)(void) = (void *)7;
static __s64 (*const bpf_tail_call)(void *ctx, void *map, __u32 index) = (void *)12;
static __s64 (*const bpf_redirect)(__u32 ifindex, __u64 flags) = (void *)23;
static __s64 (*const bpf_xdp_adjust_head)(struct xdp_md *ctx, int delta) = (void *)44;
static __s64 (*const bpf_xdp_adjust_tail)(struct xdp_md *ctx, int delta) = (void *)65;
static __s64 (*const bpf_fib_lookup)(struct xdp_md *ctx, void *params, int size, __u32 flags) = (void *)69;
static __u64 (*const bpf_get_socket_cookie)(void *ctx) = (void *)46;
static __u64 (*const bpf_jiffies64)(void) = (void *)118;
static __s64 (*const bpf_timer_init)(struct bpf_timer *timer, void *map, __u64 flags) = (void *)169;
static __s64 (*const bpf_timer_set_callback)(struct bpf_timer *timer, void *callback) = (void *)170;
static __s64 (*const bpf_timer_start)(struct bpf_timer *timer, __u64 ns, __u64 flags) = (void *)171;
static __u64 (*const bpf_xdp_get_buff_len)(struct xdp_md *ctx) = (void *)188; /* 5.18 */
static __s64 (*const bpf_xdp_load_bytes)(struct xdp_md *ctx, __u32 at, void *to, __u32 length) = (void *)189; /* 5.18 */
static __s64 (*const bpf_xdp_store_bytes)(struct xdp_md *ctx, __u32 at, void *from, __u32 length) = (void *)190; /* 5.18 */
static __s64 (*const bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static __s64 (*const bpf_probe_read_kernel)(void *to, __u32 size, const void *from) = (void *)113;
static __u64 (*const bpf_get_netns_cookie)(void *ctx) = (void *)122;
static __s64 (*const bpf_set_retval)(int retval) = (void *)187; /* here since 6.1 */
static __s64 (*const bpf_loop)(__u32 times, void *callback, void *ctx, __u64 flags) = (void *)181; /* 5.17 */

#endif
