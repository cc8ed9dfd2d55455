package health

// words are keepalived's log lines of one kind of checker. %s is the real server.
type words struct {
	success string // it came up, or its first check succeeded
	failed  string // it went down; " after N retries." or "." follows
	timeout string // one failure by silence, with log_all_failures
	single  string // any other single failure, with log_all_failures
	void    string // a check that could not be made
}

var wordsOf = map[Kind]words{
	TCPCheck: {
		success: "TCP connection to %s success.",
		failed:  "TCP_CHECK on service %s failed",
		timeout: "TCP connection to %s timeout.",
		single:  "TCP connection to %s failed.",
		void:    "TCP socket bind failed. Rescheduling.",
	},
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
