package health

// words are keepalived's log lines of one kind of checker. %s is the real server.
type words struct {
	success string // it came up, or its first check succeeded
	failed  string // it went down; " after N retries." or "." follows
	timeout string // one failure by silence, with log_all_failures
	single  string // any other single failure, with log_all_failures
	void    string // a check that could not be made
	of      bool   // " of " and the service follow the real server, but for the first failure and a timeout
}

var wordsOf = map[Kind]words{
	TCPCheck: {
		success: "TCP connection to %s success.",
		failed:  "TCP_CHECK on service %s failed",
		timeout: "TCP connection to %s timeout.",
		single:  "TCP connection to %s failed.",
		void:    "TCP socket bind failed. Rescheduling.",
	},
	HTTPGet: {
		success: "Remote Web server %s succeed on service.",
		failed:  "HTTP_CHECK on service %s failed",
		void:    "WEB socket bind failed. Rescheduling",
	},
	SSLGet: {
		success: "Remote Web server %s succeed on service.",
		failed:  "HTTP_CHECK on service %s failed", // keepalived: of both
		void:    "WEB socket bind failed. Rescheduling",
	},
	SMTPCheck: {
		success: "Remote SMTP server %s succeed on service.",
		void:    "SMTP_CHECK socket bind failed. Rescheduling.",
	},
	DNSCheck: {void: "UDP socket bind failed. Rescheduling."},
	UDPCheck: {
		success: "UDP connection to %s success.",
		failed:  "UDP_CHECK on service %s failed",
		timeout: "UDP connection to %s failed.",
		single:  "UDP connection to %s failed.",
		void:    "UDP connect fail to create socket. Rescheduling.",
	},
	PingCheck: {
		success: "ICMP connection to %s success.",
		failed:  "ICMP CHECK on service %s failed",
		timeout: "ICMP connection to address %s timeout.",
		of:      true,
		single:  "ICMP connection to %s failed.",
		void:    "ICMP connect fail to create socket. Rescheduling.",
	},
	MiscCheck: {void: "MISC_CHECK could not be run. Rescheduling."},
	FileCheck: {void: "FILE_CHECK could not be read. Rescheduling."},
}

func (k Kind) words() words {
	if w, ok := wordsOf[k]; ok {
		return w
	}
	name := string(k)
	return words{
		success: name + " on service %s succeeded.",
		failed:  name + " on service %s failed",
		timeout: name + " on service %s timed out.",
		single:  name + " on service %s failed.",
		void:    name + " could not be run. Rescheduling.",
	}
}
