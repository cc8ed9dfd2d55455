/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* net.h: headers as they stand on the wire. */
#ifndef VIPD_NET_H
#define VIPD_NET_H

#include "bpf.h"

enum { ETH_IPV4 = 0x0800 };
enum { PROTO_ICMP = 1, PROTO_IPIP = 4, PROTO_TCP = 6, PROTO_UDP = 17, PROTO_GRE = 47, PROTO_SCTP = 132 };
enum { MAX_LINK = 22 }; /* bytes of the longest link header: Ethernet and two VLAN tags */
enum { IP_DF = 0x4000, IP_MF = 0x2000, IP_OFFSET = 0x1fff }; /* in ipv4.frag, host order */
enum { TCP_FIN = 0x01, TCP_SYN = 0x02, TCP_RST = 0x04, TCP_ACK = 0x10 };

struct eth {
	__u8 dst[6], src[6];
	__be16 type;
};

struct ipv4 {
	__u8 version_ihl, tos;
	__be16 length, id, frag;
	__u8 ttl, proto;
	__u16 check;
	__be32 src, dst;
};

struct tcp {
	__be16 sport, dport;
	__be32 seq, ack;
	__u8 offset, flags;
	__be16 window;
	__u16 check;
	__be16 urgent;
};

struct udp {
	__be16 sport, dport, length;
	__u16 check;
};

struct sctp {
	__be16 sport, dport;
	__be32 tag;
	__u32 check;
};

struct icmp {
	__u8 type, code;
	__u16 check;
	__be32 rest;
};

#endif
