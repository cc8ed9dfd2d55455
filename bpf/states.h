/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * states.h: what a connection's state becomes, as IPVS's tables have it: by who speaks, what the packet says, and the state
 * that the connection is in. A table is picked by protocol, by secure_tcp, and by direction.
 */
#ifndef VIPD_STATES_H
#define VIPD_STATES_H

#include "packet.h"

/* TCP states, with the numbers of the IPVS sync protocol. */
enum tcp_state {
	TCP_NONE, TCP_ESTABLISHED, TCP_SYN_SENT, TCP_SYN_RECV, TCP_FIN_WAIT, TCP_TIME_WAIT, TCP_CLOSE, TCP_CLOSE_WAIT,
	TCP_LAST_ACK, TCP_LISTEN, TCP_SYNACK,
};

/* Of SCTP those that something else than the table asks for. */
enum sctp_state {
	SCTP_NONE = 0, SCTP_INIT1 = 1, SCTP_INIT_SEEN = 2, SCTP_ESTABLISHED = 8, SCTP_CLOSED = 13,
};

enum {
	TCP_ACTIVE = 1 << TCP_ESTABLISHED | 1 << TCP_SYN_SENT | 1 << TCP_SYN_RECV | 1 << TCP_SYNACK,
	TCP_REUSABLE = 1 << TCP_TIME_WAIT | 1 << TCP_CLOSE,
	TCP_EMBRYONIC = 1 << TCP_SYN_RECV | 1 << TCP_SYNACK,
	SCTP_ACTIVE = 1 << SCTP_ESTABLISHED,
	SCTP_REUSABLE = 1 << SCTP_CLOSED,
	SCTP_EMBRYONIC = 1 << SCTP_INIT1 | 1 << SCTP_INIT_SEEN,
};

/* Whose packet it is, and whether the other side is heard too. */
enum direction {
	INPUT,                   /* the client's */
	INPUT_ONLY,              /* the client's, and replies do not pass us (DR, TUN): CONN_NOOUTPUT */
	OUTPUT,                  /* the real server's */
	DIRECTIONS,
};

/* First index of the tables, a direction to be added. SECURE is secure_tcp: a client alone establishes nothing. */
enum { STATES_TCP = 0, STATES_SECURE = DIRECTIONS, STATES_SCTP = 2 * DIRECTIONS, STATE_TABLES = 3 * DIRECTIONS };

/* A row is an event, a column the state that the connection is in. */
static const __u8 next_states[STATE_TABLES][EVENTS][STATES] = {
	[STATES_TCP + INPUT] = {
		/*           NONE EST SS SR FW TW CL CW LA LI SA */
		[EVENT_NONE] = {  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6 },
		[EVENT_SYN] = {  3,  1,  1,  3,  3,  3,  3,  3,  3,  3,  3 },
		[EVENT_FIN] = {  6,  7,  2,  5,  5,  5,  6,  7,  8,  9,  5 },
		[EVENT_ACK] = {  1,  1,  2,  1,  4,  5,  6,  7,  6,  9,  1 },
		[EVENT_RST] = {  6,  6,  6,  3,  6,  6,  6,  6,  8,  9,  3 },
	},
	[STATES_TCP + INPUT_ONLY] = {
		[EVENT_NONE] = {  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6 },
		[EVENT_SYN] = {  3,  1,  1,  3,  3,  3,  3,  3,  3,  3,  3 },
		[EVENT_FIN] = {  6,  4,  2,  5,  4,  5,  6,  7,  8,  9,  5 },
		[EVENT_ACK] = {  1,  1,  2,  1,  4,  5,  6,  7,  6,  9,  1 },
		[EVENT_RST] = {  6,  6,  6,  3,  6,  6,  6,  6,  8,  9,  6 },
	},
	[STATES_TCP + OUTPUT] = {
		[EVENT_NONE] = {  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6 },
		[EVENT_SYN] = {  2,  1,  2,  3,  2,  2,  2,  2,  2,  9,  3 },
		[EVENT_FIN] = {  5,  4,  2,  5,  4,  5,  6,  5,  8,  9,  5 },
		[EVENT_ACK] = {  1,  1,  2,  1,  4,  5,  6,  7,  8,  1,  1 },
		[EVENT_RST] = {  6,  6,  2,  6,  6,  5,  6,  6,  6,  6,  6 },
	},
	[STATES_SECURE + INPUT] = {
		[EVENT_NONE] = {  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6 },
		[EVENT_SYN] = {  3,  1,  1,  3,  3,  3,  3,  3,  3,  3, 10 },
		[EVENT_FIN] = {  6,  7,  2,  5,  5,  5,  6,  7,  8,  9, 10 },
		[EVENT_ACK] = {  1,  1,  2,  3,  4,  5,  6,  7,  6,  9, 10 },
		[EVENT_RST] = {  6,  6,  6,  3,  6,  6,  6,  6,  8,  9,  6 },
	},
	[STATES_SECURE + INPUT_ONLY] = {
		[EVENT_NONE] = {  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6 },
		[EVENT_SYN] = { 10,  1,  1,  3, 10, 10, 10, 10, 10, 10, 10 },
		[EVENT_FIN] = {  6,  4,  2,  5,  4,  5,  6,  7,  8,  9,  5 },
		[EVENT_ACK] = {  1,  1,  2,  1,  4,  5,  6,  7,  6,  9,  1 },
		[EVENT_RST] = {  6,  6,  6,  3,  6,  6,  6,  6,  8,  9,  6 },
	},
	[STATES_SECURE + OUTPUT] = {
		[EVENT_NONE] = {  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6 },
		[EVENT_SYN] = {  2,  1,  2, 10,  2,  2,  2,  2,  2,  9, 10 },
		[EVENT_FIN] = {  5,  4,  2,  5,  4,  5,  6,  5,  8,  9,  5 },
		[EVENT_ACK] = {  1,  1,  2,  1,  4,  5,  6,  7,  8,  1,  1 },
		[EVENT_RST] = {  6,  6,  2,  6,  6,  5,  6,  6,  6,  6,  6 },
	},
	[STATES_SCTP + INPUT] = {
		/* NONE INIT1 INIT C-SENT C-REPLIED C-WAIT COOKIE C-ECHOED EST S-SENT S-RECEIVED S-ACK-SENT REJECTED CLOSED */
		[SCTP_OTHER] = {  8,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13 },
		[SCTP_INIT] = {  1,  2,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11,  2,  2 },
		[SCTP_INIT_ACK] = {  5,  5,  5,  3,  4,  6,  6,  7,  8,  9, 10, 11, 12, 13 },
		[SCTP_COOKIE_ECHO] = {  4,  2,  2,  4,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13 },
		[SCTP_COOKIE_ACK] = {  8,  1,  2,  3,  4,  5,  6,  8,  8,  9, 10, 11, 12, 13 },
		[SCTP_SHUTDOWN] = { 10,  1,  2,  3,  4,  5,  6,  7, 10,  9, 10, 11, 12, 13 },
		[SCTP_SHUTDOWN_ACK] = { 13,  2,  2,  3,  4,  5,  6,  7,  8, 13, 10, 13, 12, 13 },
		[SCTP_SHUTDOWN_COMPLETE] = { 13, 13, 13,  3,  4,  5,  6,  7,  8,  9, 10, 13, 12, 13 },
		[SCTP_ERROR] = { 13,  1,  2,  3,  4,  5,  6, 13,  8,  9, 10, 11, 12, 13 },
		[SCTP_ABORT] = { 13, 13, 13, 13, 13, 12, 13, 13, 13, 13, 13, 13, 13, 13 },
	},
	[STATES_SCTP + INPUT_ONLY] = {
		[SCTP_OTHER] = {  8,  1,  2,  3,  4,  8,  6,  7,  8,  9, 10, 11, 12, 13 },
		[SCTP_INIT] = {  1,  2,  2,  2,  2,  2,  6,  7,  8,  9, 10, 11,  2,  2 },
		[SCTP_INIT_ACK] = {  7,  7,  7,  7,  7,  7,  6,  7,  8,  9, 10, 11, 12, 13 },
		[SCTP_COOKIE_ECHO] = {  8,  8,  8,  8,  8,  8,  6,  7,  8,  9, 10, 11, 12, 13 },
		[SCTP_COOKIE_ACK] = {  8,  1,  2,  8,  8,  5,  8,  8,  8,  9, 10, 11, 12, 13 },
		[SCTP_SHUTDOWN] = { 10,  1,  2,  3,  4,  5,  6,  7, 10,  9, 10, 11, 12, 13 },
		[SCTP_SHUTDOWN_ACK] = { 13,  2,  2,  3,  4,  5,  6,  7, 13, 13, 10, 13, 12, 13 },
		[SCTP_SHUTDOWN_COMPLETE] = { 13, 13, 13, 13, 13,  5,  6,  7,  8,  9, 13, 13, 12, 13 },
		[SCTP_ERROR] = { 13,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13 },
		[SCTP_ABORT] = { 13, 13, 13, 13, 13, 12, 13, 13, 13, 13, 13, 13, 13, 13 },
	},
	[STATES_SCTP + OUTPUT] = {
		[SCTP_OTHER] = {  8,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13 },
		[SCTP_INIT] = {  5,  5,  5,  5,  5,  5,  5,  5,  8,  5,  5,  5,  5,  5 },
		[SCTP_INIT_ACK] = {  3,  3,  3,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13 },
		[SCTP_COOKIE_ECHO] = {  7,  7,  7,  7,  7,  7,  7,  7,  8,  9, 10, 11, 12, 13 },
		[SCTP_COOKIE_ACK] = {  8,  8,  8,  8,  8,  8,  8,  8,  8,  9, 10, 11, 12, 13 },
		[SCTP_SHUTDOWN] = {  9,  9,  9,  9,  9,  9,  9,  9,  9,  9, 10, 11, 12, 13 },
		[SCTP_SHUTDOWN_ACK] = { 11, 11, 11, 11, 11,  5,  6,  7,  8, 11, 11, 11, 12, 13 },
		[SCTP_SHUTDOWN_COMPLETE] = { 13,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13 },
		[SCTP_ERROR] = { 13, 13, 13, 13, 13,  5,  6,  7,  8,  9, 10, 11, 12, 13 },
		[SCTP_ABORT] = { 13, 12, 13, 13, 13, 13, 13, 13, 13, 13, 13, 13, 13, 13 },
	},
};

static __always_inline __u32 state_next(struct tunables *t, __u8 proto, __u32 event, enum direction direction, __u32 state)
{
	__u32 table = STATES_SCTP;

	if (likely(proto == PROTO_TCP)) {
		/* All tables agree on what nearly every packet is: no table is read. */
		if (likely(state == TCP_ESTABLISHED && event == EVENT_ACK))
			return state;
		table = t->secure_tcp > 1 ? STATES_SECURE : STATES_TCP;
	} else if (proto != PROTO_SCTP) {
		return TCP_NONE;
	}
	return next_states[table + direction][event & (EVENTS - 1)][state & (STATES - 1)];
}

static __always_inline __u32 timeout_of(struct tunables *t, __u8 proto, __u32 state)
{
	if (likely(proto == PROTO_TCP))
		return t->tcp[state & (STATES - 1)];
	return proto == PROTO_SCTP ? t->sctp[state & (STATES - 1)] : t->udp;
}

/* Is it counted as active? UDP has one state and never is. */
static __always_inline int state_active(__u8 proto, __u32 state)
{
	if (likely(proto == PROTO_TCP))
		return TCP_ACTIVE >> state & 1;
	return proto == PROTO_SCTP && SCTP_ACTIVE >> state & 1;
}

static __always_inline int state_established(__u8 proto, __u32 state)
{
	return state == (proto == PROTO_SCTP ? (__u32)SCTP_ESTABLISHED : (__u32)TCP_ESTABLISHED) && proto != PROTO_UDP;
}

/* May a SYN or INIT of the same client and ports be a new connection? */
static __always_inline int state_reusable(__u8 proto, __u32 state)
{
	return (proto == PROTO_SCTP ? SCTP_REUSABLE : TCP_REUSABLE) >> state & 1 && proto != PROTO_UDP;
}

/* Has nobody but the client said anything yet? */
static __always_inline int state_embryonic(__u8 proto, __u32 state)
{
	return (proto == PROTO_SCTP ? SCTP_EMBRYONIC : TCP_EMBRYONIC) >> state & 1 && proto != PROTO_UDP;
}

#endif
