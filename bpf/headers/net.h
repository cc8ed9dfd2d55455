/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* net.h: headers as they stand on the wire. */
#ifndef VIPD_NET_H
#define VIPD_NET_H

#include "bpf.h"

enum { ETH_IPV4 = 0x0800, ETH_IPV6 = 0x86dd, ETH_VLAN = 0x8100, ETH_QINQ = 0x88a8 };
enum { PROTO_ICMP = 1, PROTO_IPIP = 4, PROTO_TCP = 6, PROTO_UDP = 17, PROTO_IPV6 = 41, PROTO_GRE = 47, PROTO_ICMPV6 = 58, PROTO_SCTP = 132 };
enum { NEXT_HOP_BY_HOP = 0, NEXT_ROUTING = 43, NEXT_FRAGMENT = 44, NEXT_AUTH = 51, NEXT_OPTIONS = 60 }; /* RFC 8200 4 */
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

struct vlan {
	__be16 tci, type;
};

struct ipv6 {
	__be32 version_class_flow;
	__be16 length;
	__u8 next, hop_limit;
	__be32 src[4], dst[4];
};

struct ipv6_fragment {
	__u8 next, reserved;
	__be16 offset;           /* in 8 bytes << 3; bit 0: more */
	__be32 id;
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

struct sctp_chunk {
	__u8 type, flags;
	__be16 length;
};

struct sctp_packet {
	struct sctp sctp;
	struct sctp_chunk chunk;
};

struct icmp {
	__u8 type, code;
	__u16 check;
	__be32 rest;
};

#endif
