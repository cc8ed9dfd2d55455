package haproxy

import (
	"bufio"
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// ShowState is the command whose answer ParseState reads (management guide, 9.3).
const ShowState = "show servers state"

// Running is a server as HAProxy has it.
type Running struct {
	Weight int
	Maint  bool // by the runtime API or the file
}

// forcedMaint is the bit of srv_admin_state that "set server … state" changes (SRV_ADMF_FMAINT). "disabled" in the file sets it too, and
// beside it one that stays and means nothing more (SRV_ADMF_CMAINT).
const forcedMaint = 0x01

// ParseState reads the answer to ShowState: a version, the names of the columns behind a "#", and a line a server. The key is
// BACKEND/SERVER.
func ParseState(answer []byte) (map[string]Running, error) {
	all := map[string]Running{}
	var at map[string]int
	lines := bufio.NewScanner(bytes.NewReader(answer))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 0 || at == nil && len(words) == 1:
		case words[0] == "#":
			at = map[string]int{}
			for i, name := range words[1:] {
				at[name] = i
			}
			for _, name := range []string{"be_name", "srv_name", "srv_admin_state", "srv_uweight"} {
				if _, ok := at[name]; !ok {
					return nil, fmt.Errorf("the servers' state has no column %s", name)
				}
			}
		case at == nil:
			return nil, fmt.Errorf("HAProxy says %.80q, expected its servers' state", lines.Text())
		default:
			if err := addRunning(all, at, words); err != nil {
				return nil, err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the servers' state: %w", err)
	}
	if at == nil {
		return nil, fmt.Errorf("HAProxy says %.80q, expected its servers' state", answer)
	}
	return all, nil
}

func addRunning(all map[string]Running, at map[string]int, words []string) error {
	word := func(name string) string {
		if i := at[name]; i < len(words) {
			return words[i]
		}
		return ""
	}
	admin, err := strconv.ParseUint(word("srv_admin_state"), 10, 32)
	weight, errWeight := strconv.ParseUint(word("srv_uweight"), 10, 16)
	if err != nil || errWeight != nil || word("srv_name") == "" {
		return fmt.Errorf("read the state of server %.80q: want numbers as state and weight", strings.Join(words, " "))
	}
	all[word("be_name")+"/"+word("srv_name")] = Running{Weight: int(weight), Maint: admin&forcedMaint != 0}
	return nil
}

// Commands say what makes a running HAProxy as want. missing are servers that it does not have: its configuration is another.
func Commands(have map[string]Running, want []Backend) (commands, missing []string) {
	for _, b := range want {
		for _, s := range b.Servers {
			name := b.Name + "/" + s.Name
			now, ok := have[name]
			if !ok {
				missing = append(missing, name)
				continue
			}
			if now.Weight != s.Weight {
				commands = append(commands, fmt.Sprintf("set server %s weight %d", name, s.Weight))
			}
			if now.Maint != s.Out {
				commands = append(commands, fmt.Sprintf("set server %s state %s", name, map[bool]string{true: "maint", false: "ready"}[s.Out]))
			}
		}
	}
	return commands, missing
}
