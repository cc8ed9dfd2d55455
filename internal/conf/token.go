package conf

// Kind is what a token is.
type Kind uint8

// Token kinds.
const (
	Word   Kind = iota
	Quoted      // "like this": Text is without the quotes
	Open        // {
	Close       // }
	Define      // $NAME=VALUE, the rest of the line included, and its continuation lines
	Junk        // a line that is not read: a NUL byte in it, or too long
	Broken      // from a double quote to the end of the line where the closing one is missing
)

// Token is one piece of a file that means something.
type Token struct {
	Kind   Kind
	Text   string // what it stands for: quotes and escapes removed
	Raw    string // as written
	Before string // blanks, line ends and comments between the previous token and this one
	Line   int    // from 1
	Col    int    // in characters, from 1
}

// Comment is one comment, with its mark (# or !) and without the line end.
type Comment struct {
	Text string
	Line int
	Col  int
}

// piece is a stretch of one line, in bytes. Comments and blanks are pieces too, so the pieces of a line cover it.
type piece struct {
	kind       pieceKind
	start, end int
}

type pieceKind uint8

const (
	blankPiece pieceKind = iota
	commentPiece
	wordPiece
	quotedPiece
	brokenPiece
	openPiece
	closePiece
)

// token makes a token of a piece of s.
func (p piece) token(s string) Token {
	raw := s[p.start:p.end]
	switch p.kind {
	case quotedPiece:
		return Token{Kind: Quoted, Raw: raw, Text: raw[1 : len(raw)-1]}
	case brokenPiece:
		return Token{Kind: Broken, Raw: raw, Text: raw[1:]}
	case openPiece:
		return Token{Kind: Open, Raw: raw, Text: raw}
	case closePiece:
		return Token{Kind: Close, Raw: raw, Text: raw}
	}
	return Token{Kind: Word, Raw: raw, Text: unescape(raw)}
}
