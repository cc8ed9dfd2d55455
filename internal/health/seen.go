package health

// Seen is what a check sent and got, for a person who wants to know why. Everything in it is bounded.
type Seen struct {
	Sent     int    // bytes, of TLS those within
	Received int    // bytes
	First    []byte // of what was received, or of a command's output: at most SeenFirst
	Status   int    // of HTTP. If zero, there was none.
	Digest   string // MD5 of the page, where one was expected
}

// SeenFirst is how many bytes of an answer are kept.
const SeenFirst = 64
