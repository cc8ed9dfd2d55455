package xdp

import (
	"strings"

	"vipd/bpf"
)

// reasonNames are the words of enum reason, in lower case. A test holds them against the object's.
var reasonNames = [bpf.LbReasonREASONS]string{
	bpf.LbReasonPASS_NOT_IPV4:      "pass_not_ipv4",
	bpf.LbReasonPASS_MALFORMED:     "pass_malformed",
	bpf.LbReasonPASS_NOT_OURS:      "pass_not_ours",
	bpf.LbReasonPASS_NOT_SERVICE:   "pass_not_service",
	bpf.LbReasonPASS_ICMP:          "pass_icmp",
	bpf.LbReasonPASS_FRAGMENT:      "pass_fragment",
	bpf.LbReasonPASS_NO_CONNECTION: "pass_no_connection",
	bpf.LbReasonPASS_LOCAL:         "pass_local",
	bpf.LbReasonFORWARD_HIT:        "forward_hit",
	bpf.LbReasonFORWARD_NEW:        "forward_new",
	bpf.LbReasonFORWARD_STATELESS:  "forward_stateless",
	bpf.LbReasonFORWARD_REPLY:      "forward_reply",
	bpf.LbReasonFORWARD_ICMP:       "forward_icmp",
	bpf.LbReasonREPLY_NO_SERVER:    "reply_no_server",
	bpf.LbReasonREPLY_TTL:          "reply_ttl",
	bpf.LbReasonREPLY_TOO_BIG:      "reply_too_big",
	bpf.LbReasonDROP_REAL_GONE:     "drop_real_gone",
	bpf.LbReasonDROP_NO_NEIGHBOUR:  "drop_no_neighbour",
	bpf.LbReasonDROP_TOO_BIG:       "drop_too_big",
	bpf.LbReasonDROP_LOCAL_NAT:     "drop_local_nat",
	bpf.LbReasonDROP_FRAGMENT:      "drop_fragment",
	bpf.LbReasonDROP_TABLE_FULL:    "drop_table_full",
	bpf.LbReasonDROP_BUSY:          "drop_busy",
	bpf.LbReasonDROP_NO_ROOM:       "drop_no_room",
}

func verdictOf(name string) string {
	verdict, _, _ := strings.Cut(name, "_")
	return verdict
}
