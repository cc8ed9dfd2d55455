/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sip.h: which call a SIP message over UDP belongs to, by its Call-ID (RFC 3261 8.1.1.4). A service with this engine has a
 * template for each call of a client, and not for each client.
 *
 * The header is found as the kernel's SIP parser finds it, so that both see the same call in the same datagram: a line that
 * begins with Call-ID or i, in any case; blanks and continuation lines around the colon; the first one that says something.
 * ipvs: of a datagram the first SIP_READ bytes are looked at.
 */
#ifndef VIPD_SIP_H
#define VIPD_SIP_H

#include "conn.h"

enum {
	SIP_READ  = 4096,        /* a power of two */
	SIP_NAME  = 7,           /* length of "Call-ID" */
};

/* The message of the packet at hand, and the call that it is of. Not on the stack. */
struct sip {
	struct call call;
	__u8 text[SIP_READ];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sip);
} sip_message SEC(".maps");

/* The text of each template's Call-ID, for those who list it. A call whose text found no room is shown without. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 20);
	__type(key, struct call_key);
	__type(value, struct call);
} calls SEC(".maps");

static __always_inline struct sip *sip_here(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&sip_message, &zero);
}

enum sip_state {
	SIP_LINE,                /* somewhere in a line */
	SIP_CR,                  /* behind a CR, which ends a line with or without LF */
	SIP_BEGIN,               /* at the first character of a line */
	SIP_IN_NAME,
	SIP_COMPACT,             /* behind an i */
	SIP_COLON,               /* a colon is expected, or blanks */
	SIP_VALUE,               /* its first character is expected, or blanks */
	SIP_FOLD_CR,             /* behind a CR or LF where blanks may be */
	SIP_FOLD,                /* a blank is expected that says that the line goes on */
	SIP_FOLDED,              /* in the blanks of that line */
	SIP_WORD, SIP_AT, SIP_HOST,
	SIP_FOUND, SIP_NONE,
};

struct sip_walk {
	__u32 length;
	__u32 state;
	__u32 wanted;            /* in blanks around the colon: SIP_COLON or SIP_VALUE */
	__u32 at;                /* characters of the name that were met */
	__u32 first, end;        /* of the Call-ID */
	__u32 cr;                /* SIP_FOLD_CR: it was a CR */
};

static __always_inline int sip_ends_line(__u8 c)
{
	return c == '\r' || c == '\n';
}

static __always_inline int sip_blank(__u8 c)
{
	return c == ' ' || c == '\t';
}

/* The kernel's letters are those of Latin-1. */
static __always_inline int sip_letter(__u8 c)
{
	__u8 low = c | 0x20;

	return (low >= 'a' && low <= 'z') || (c >= 0xc0 && c != 0xd7 && c != 0xf7);
}

/* RFC 3261 25.1: "word", in four times 64 bits. */
static __always_inline int sip_word(__u8 c)
{
	if (c >= 0x80)
		return sip_letter(c);
	if (c >= 0x40) /* letters [ \ ] _ ` { } ~ */
		return 0x6fffffffbffffffeull >> (c & 63) & 1;
	return 0xd7ffefa600000000ull >> (c & 63) & 1; /* ! " % ' ( ) * + - . / digits : < > ? */
}

/* One character in the middle of a line, or its end. */
static __always_inline __u32 sip_in_line(__u8 c)
{
	return c == '\r' ? SIP_CR : c == '\n' ? SIP_BEGIN : SIP_LINE;
}

static __always_inline __u32 sip_begin(struct sip_walk *w, __u8 c)
{
	w->at = 1;
	if ((c | 0x20) == 'c')
		return SIP_IN_NAME;
	return (c | 0x20) == 'i' ? SIP_COMPACT : SIP_LINE;
}

/* "call-id" without its first letter, from the lowest byte. */
static __always_inline __u32 sip_in_name(struct sip_walk *w, __u8 c)
{
	__u8 want = 0x64692d6c6c61ull >> ((w->at - 1) * 8 & 63);
	__u8 low = sip_letter(c) ? c | 0x20 : c;

	if (low != want)
		return sip_in_line(c);
	return ++w->at == SIP_NAME ? SIP_COLON : SIP_IN_NAME;
}

/* Around the colon: blanks, a line's end that must be followed by blanks, or what is wanted. */
static __always_inline __u32 sip_around(struct sip_walk *w, __u32 i, __u8 c, __u32 wanted)
{
	w->wanted = wanted;
	if (sip_blank(c))
		return wanted;
	if (sip_ends_line(c)) {
		w->cr = c == '\r';
		return SIP_FOLD_CR;
	}
	if (wanted == SIP_COLON)
		return c == ':' ? SIP_VALUE : SIP_NONE;
	w->first = i;
	return sip_word(c) ? SIP_WORD : SIP_LINE;
}

static __always_inline __u32 sip_ended(struct sip_walk *w, __u32 i, __u8 c)
{
	w->end = i;
	return sip_ends_line(c) && i - w->first <= CALL_LENGTH ? SIP_FOUND : SIP_NONE;
}

/* Global: the verifier would take each of the states that there are for each round that the walk might have. */
__noinline __u32 sip_next(struct sip_walk *w, __u32 i, __u32 of)
{
	__u8 c = of;

	if (!w)
		return SIP_NONE;
	switch (w->state) {
	case SIP_LINE:
		return sip_in_line(c);
	case SIP_CR:
		return c == '\n' ? SIP_BEGIN : sip_begin(w, c);
	case SIP_BEGIN:
		return sip_begin(w, c);
	case SIP_IN_NAME:
		return sip_in_name(w, c);
	case SIP_COMPACT:
		return sip_letter(c) ? SIP_LINE : sip_around(w, i, c, SIP_COLON);
	case SIP_COLON:
		return sip_around(w, i, c, SIP_COLON);
	case SIP_VALUE:
		return sip_around(w, i, c, SIP_VALUE);
	case SIP_FOLD_CR:
		if (w->cr && c == '\n')
			return SIP_FOLD;
		return sip_blank(c) ? SIP_FOLDED : SIP_NONE;
	case SIP_FOLD:
		return sip_blank(c) ? SIP_FOLDED : SIP_NONE;
	case SIP_FOLDED:
		return sip_blank(c) ? SIP_FOLDED : sip_around(w, i, c, w->wanted);
	case SIP_WORD:
		return sip_word(c) ? SIP_WORD : c == '@' ? SIP_AT : sip_ended(w, i, c);
	case SIP_AT:
		return sip_word(c) ? SIP_HOST : sip_in_line(c);
	case SIP_HOST:
		return sip_word(c) ? SIP_HOST : sip_ended(w, i, c);
	}
	return w->state;
}

static int sip_step(__u32 i, struct sip_walk *w)
{
	struct sip *s = sip_here();

	if (!s || i >= w->length)
		return 1;
	w->state = sip_next(w, i, s->text[i & (SIP_READ - 1)]);
	return w->state >= SIP_FOUND;
}

/* Reads `length` bytes of a message, `at` bytes into the frame, and notes its call; one of length 0 if it has none. */
__noinline int sip_read(struct xdp_md *ctx, __u32 at, __u32 length)
{
	struct sip *s = sip_here();
	struct sip_walk w = {};
	__u32 n;

	if (!s)
		return 0;
	s->call.length = 0;
	if (!length)
		return 0;
	w.length = length < SIP_READ ? length : SIP_READ;
	n = w.length - 1;
	forget_bounds(n);
	/* 6.1 does not learn from a comparison that a number is not 0. */
	if (bpf_xdp_load_bytes(ctx, at, s->text, (n & (SIP_READ - 1)) + 1))
		return 0;
	bpf_loop(SIP_READ, sip_step, &w, 0);
	n = w.end - w.first;
	if (w.state != SIP_FOUND || !n || n > CALL_LENGTH)
		return 0;
	__builtin_memset(s->call.text, 0, sizeof(s->call.text));
	forget_bounds(n);
	n &= CALL_LENGTH;
	if (bpf_probe_read_kernel(s->call.text, n, s->text + (w.first & (SIP_READ - 1))))
		return 0;
	s->call.length = n;
	return 1;
}

/* The hash of the call at hand: 48 bits that no client can aim at. 0: there is none. */
__noinline __u64 sip_hash(void)
{
	struct sip *s = sip_here();
	__u64 h = hash_seed;

	if (!s || !s->call.length)
		return 0;
	for (int i = 0; i < (CALL_LENGTH + 1) / 8; i++)
		h = hash_mix(h, load64(s->call.text + 8 * i));
	return (h * 0xd6e8feb86659fd93ull >> 16) | 1;
}

/* Functions of their own, for the stack. */
__noinline int sip_keep(__u64 line, __u32 number)
{
	struct call_key key = { .line = line, .number = number };
	struct sip *s = sip_here();

	return s && !bpf_map_update_elem(&calls, &key, &s->call, 0);
}

__noinline int sip_forget(__u64 line, __u32 number)
{
	struct call_key key = { .line = line, .number = number };

	return !bpf_map_delete_elem(&calls, &key);
}

#endif
