package cli

import "strings"

// reader takes a command line apart as popt(3) does: options anywhere, bundles of short ones, "-r=VALUE" and
// "--weight=VALUE", words that are no option kept for later, everything after "--" a word.
type reader struct {
	args   []string
	next   int
	bundle string   // short options that are left of the current word
	words  []string // what is no option
	rest   bool     // after "--"
	typed  string   // the current word, or the last one that was taken as a value, for messages
}

// poptError is an error that popt reports itself, with its words.
type poptError string

const (
	unknownOption    poptError = "unknown option"
	missingArgument  poptError = "missing argument"
	unwantedArgument poptError = "option does not take an argument"
)

// option returns the next option with its value, nil at the end.
func (r *reader) option() (w *word, value string, given bool, bad poptError) {
	for r.bundle == "" {
		if r.next == len(r.args) {
			return nil, "", false, ""
		}
		arg := r.args[r.next]
		r.next++
		switch {
		case r.rest || len(arg) < 2 || arg[0] != '-':
			r.words = append(r.words, arg)
		case arg == "--":
			r.rest = true
		case arg[1] == '-':
			r.typed = arg
			name, value, given := strings.Cut(arg[2:], "=")
			return r.finish(longWord(name), value, given)
		default:
			r.typed, r.bundle = arg, arg[1:]
		}
	}
	w = shortWord(r.bundle[0])
	r.bundle = r.bundle[1:]
	if w == nil {
		return nil, "", false, unknownOption
	}
	// An argument is the rest of the bundle, with or without "=".
	if rest, equals := strings.CutPrefix(r.bundle, "="); equals || (w.arg != noArgument && rest != "") {
		r.bundle = ""
		return r.finish(w, rest, true)
	}
	return r.finish(w, "", false)
}

// finish takes the next word where an option wants one.
func (r *reader) finish(w *word, value string, given bool) (*word, string, bool, poptError) {
	switch {
	case w == nil:
		return nil, "", false, unknownOption
	case given && w.arg == noArgument:
		return nil, "", false, unwantedArgument
	case given || w.arg == noArgument:
		return w, value, given, ""
	case r.next == len(r.args):
		if w.arg == mayHaveArgument {
			return w, "", false, ""
		}
		return nil, "", false, missingArgument
	case w.arg == mayHaveArgument && strings.HasPrefix(r.args[r.next], "-"):
		return w, "", false, ""
	}
	r.typed = r.args[r.next]
	r.next++
	return w, r.typed, true, ""
}

func longWord(name string) *word {
	for i := range words {
		if words[i].long == name && name != "" {
			return &words[i]
		}
	}
	return nil
}

func shortWord(c byte) *word {
	for i := range words {
		if words[i].short == c && c != 0 {
			return &words[i]
		}
	}
	return nil
}
