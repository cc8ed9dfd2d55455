package bpf

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

const (
	coverVar     = "VIPD_COVER"      // a regular expression: the files whose decisions are looked at
	coverRowsVar = "VIPD_COVER_ROWS" // these rows alone
	coveredVar   = "VIPD_COVERED"    // for a child: the file descriptor of the map in which the object keeps what was taken
	coveredMap   = ".data.covered"
)

// coverHeader has the macros of an object that is watched: the map has two bytes for each decision. A mark is assembly: of two
// stores clang would make one, to an address that it chooses by the condition, and the verifier would no longer know what is true.
const coverHeader = `
unsigned char cover_marks[%d] __attribute__((section("` + coveredMap + `"), used, visibility("hidden")));
#define COVER_MARK(at) ({ unsigned long cover_to, cover_one; \
	__asm__ volatile("%%0 = cover_marks ll; %%1 = 1; *(u8 *)(%%0 + %%2) = %%1" : "=&r"(cover_to), "=&r"(cover_one) : "i"(at)); })
#define COVER(n, ...) ((__VA_ARGS__) ? (COVER_MARK(2 * (n)), 1) : (COVER_MARK(2 * (n) + 1), 0))
#define COVER_CASE(n) COVER_MARK(2 * (n))
`

// transparentHeader has them as if nothing were watched.
const transparentHeader = `
#define COVER(n, ...) (__VA_ARGS__)
#define COVER_CASE(n)
`

// branched are the objects whose decisions are looked at. Headers are lb.bpf.c's.
var branched = []string{"decap.bpf.c", "lb.bpf.c", "path.bpf.c", "socket.bpf.c"}

// rowsOfObject are all that send anything through one of the small objects.
var rowsOfObject = map[string]string{objectName("decap.bpf.c"): "Decapsulator", objectName("path.bpf.c"): "OfACheck", objectName("socket.bpf.c"): "^TestOwn"}

// lookRows look at the object's code, and not at what it does.
const lookRows = "^(TestLoopsAreThoseThatOlderVerifiersFollow|TestStack.*)$"

// TestBranches asks of every condition in the C whether some row has made it true and some row false, and of every case of a
// switch whether one has taken it. It fails for each that no row does and testdata/branches.txt does not excuse, and for each excuse
// that is none.
//
// Run by make cover; VIPD_COVER='^conn.h$' looks at one file.
func TestBranches(t *testing.T) {
	which := os.Getenv(coverVar)
	if which == "" {
		t.Skip("it runs all rows: VIPD_COVER is not set")
	}
	chosen, excused := regexp.MustCompile(which), branchExcuses(t)
	for _, source := range branched {
		all := decisionsOf(t, source)
		unchanged(t, source, all)
		all = slices.DeleteFunc(all, func(d decision) bool { return !chosen.MatchString(d.file) })
		report(t, all, watch(t, source, all), excused)
	}
	for known, used := range excused {
		if !used && chosen.MatchString(strings.Fields(known)[0]) {
			t.Errorf("testdata/branches.txt: a row does it: %s", known)
		}
	}
}

// taken is what rows did with a decision.
type taken struct{ yes, no, blind bool }

// report fails for what of all is not taken and has no excuse; then it says a sum for each file.
func report(t *testing.T, all []decision, of map[decision]taken, excused map[string]bool) {
	t.Helper()
	type sum struct{ branches, taken, excused, blind int }
	sums := map[string]*sum{}
	ask := func(d decision, was taken, done bool, missing string) {
		s := sums[d.file]
		if s == nil {
			s = &sum{}
			sums[d.file] = s
		}
		s.branches++
		_, excuse := excused[d.known(missing)]
		switch {
		case was.blind:
			s.blind++
			t.Logf("%v: not watched: the verifier refuses it", d)
		case done:
			s.taken++
		case excuse:
			s.excused++
			excused[d.known(missing)] = true
		default:
			t.Errorf("%v: %s", d, missing)
		}
	}
	for _, d := range all {
		was := of[d]
		if d.arm {
			ask(d, was, was.yes, "never")
			continue
		}
		ask(d, was, was.yes, "never true")
		ask(d, was, was.no, "never false")
	}
	for _, file := range slices.Sorted(maps.Keys(sums)) {
		s := sums[file]
		t.Logf("%s: %d branches, %d taken, %d excused, %d not watched, %d left", file, s.branches, s.taken, s.excused, s.blind,
			s.branches-s.taken-s.excused-s.blind)
	}
}

// branchExcuses are the branches that no row can take: "file function: condition: never true # why", or "# chance: why" where rows take
// it at times. The value says whether one was needed.
func branchExcuses(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for known, why := range excuses(t, "branches.txt") {
		all[known] = strings.HasPrefix(why, "chance: ")
	}
	return all
}

// filesOf are the sources whose decisions are looked at in an object.
func filesOf(t *testing.T, source string) []string {
	t.Helper()
	if source != "lb.bpf.c" {
		return []string{source}
	}
	headers, err := filepath.Glob("*.h")
	if err != nil {
		t.Fatal(err)
	}
	return append(headers, source)
}

func decisionsOf(t *testing.T, source string) (all []decision) {
	t.Helper()
	for _, file := range filesOf(t, source) {
		all = append(all, decisions(file, readFile(t, file))...)
	}
	return all
}

func readFile(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// watchedObject is the object, in a folder of its own, in which these decisions are watched, or "" if clang makes none; header
// has the macros.
func watchedObject(t *testing.T, source, header string, all []decision) string {
	t.Helper()
	numbers := map[decision]int{}
	for n, d := range all {
		numbers[d] = n
	}
	looked := filesOf(t, source)
	return compiled(t, source, func(file, text string) string {
		if slices.Contains(looked, file) {
			text = watched(text, decisions(file, text), func(d decision) (int, bool) {
				n, found := numbers[d]
				return n, found
			})
		}
		if file == source {
			return header + text
		}
		return text
	})
}

// unchanged fails if the C does something else than before when it is watched.
func unchanged(t *testing.T, source string, all []decision) {
	t.Helper()
	plain, marked := mutatedAll(t, source, nil), watchedObject(t, source, transparentHeader, all)
	if plain == "" || marked == "" {
		t.Fatalf("%s does not compile", source)
	}
	if code(t, plain) != code(t, marked) {
		t.Errorf("%s: with its decisions marked it is another program", source)
	}
}

// watch runs the rows on objects in which the decisions are watched: one, or as many as the verifier wants.
func watch(t *testing.T, source string, all []decision) map[decision]taken {
	t.Helper()
	of := map[decision]taken{}
	if len(all) == 0 {
		return of
	}
	object := watchedObject(t, source, fmt.Sprintf(coverHeader, 2*len(all)), all)
	marks, refused := []byte(nil), "clang makes nothing of it"
	if object != "" {
		marks, refused = rowsWatched(t, object)
	}
	if refused == "" {
		for n, d := range all {
			of[d] = taken{yes: marks[2*n] != 0, no: marks[2*n+1] != 0}
		}
		return of
	}
	t.Logf("%d decisions, from %v on: %s", len(all), all[0], refused)
	if len(all) == 1 {
		of[all[0]] = taken{blind: true}
		return of
	}
	half := len(all) / 2
	maps.Copy(of, watch(t, source, all[:half]))
	maps.Copy(of, watch(t, source, all[half:]))
	return of
}

// rowsWatched has a child run the rows on an object, and returns its marks, or why it cannot be loaded.
func rowsWatched(t *testing.T, object string) (marks []byte, refused string) {
	t.Helper()
	spec, err := ebpf.LoadCollectionSpec(object)
	if err != nil {
		t.Fatal(err)
	}
	as := spec.Maps[coveredMap].Copy()
	as.Flags |= unix.BPF_F_MMAPABLE // as the library makes it of a section
	m, err := ebpf.NewMap(as)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if refused := loads(t, object); refused != "" {
		return nil, refused
	}
	fd, err := unix.Dup(m.FD())
	if err != nil {
		t.Fatal(err)
	}
	handed := os.NewFile(uintptr(fd), coveredMap)
	defer handed.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	args := []string{"-test.skip=" + slowRows + "|" + lookRows, "-test.v", "-test.timeout=1h"}
	if rows := cmp.Or(os.Getenv(coverRowsVar), rowsOfObject[filepath.Base(object)]); rows != "" {
		args = append(args, "-test.run="+rows)
	}
	child := exec.CommandContext(ctx, os.Args[0], args...)
	child.Env = append(os.Environ(), objectVar+"="+object, coverVar+"=", coveredVar+"=3") // the first behind standard error
	child.ExtraFiles = []*os.File{handed}
	out, err := child.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
	case !errors.As(err, &exit):
		t.Fatal(err)
	case bytes.Contains(out, []byte(refusal)):
		return nil, firstLineWith(out, refusal)
	default:
		t.Errorf("%s: a row fails: %s", object, firstLineWith(out, "--- FAIL: "))
	}
	marks = make([]byte, m.ValueSize())
	if err := m.Lookup(uint32(0), &marks); err != nil {
		t.Fatal(err)
	}
	return marks, ""
}

// loads says why an object cannot be loaded, or "".
func loads(t *testing.T, object string) string {
	t.Helper()
	spec, err := ebpf.LoadCollectionSpec(object)
	if err != nil {
		t.Fatal(err)
	}
	if spec.Maps[LbMapRegions] != nil {
		(&rig{TB: t, regions: 4}).configure(spec)
	}
	all, err := ebpf.NewCollection(Named(spec))
	var why *ebpf.VerifierError
	switch {
	case errors.As(err, &why):
		return why.Error()
	case err != nil:
		t.Fatal(err)
	}
	all.Close()
	return ""
}

// refusal stands in what a child says whose object the verifier refuses, for the size of the table that the row wants.
const refusal = ": load program: "

func firstLineWith(out []byte, what string) string {
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, what) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// covered is what a child loads its objects with: its parent's map in place of theirs.
var covered = sync.OnceValue(func() *ebpf.CollectionOptions {
	fd, err := strconv.Atoi(os.Getenv(coveredVar))
	if err != nil {
		return nil // it is no such child
	}
	m, err := ebpf.NewMapFromFD(fd)
	if err != nil {
		panic(err)
	}
	return &ebpf.CollectionOptions{MapReplacements: map[string]*ebpf.Map{coveredMap: m}}
})

// options are covered for an object that is watched.
func options(spec *ebpf.CollectionSpec) *ebpf.CollectionOptions {
	if spec.Maps[coveredMap] == nil {
		return nil
	}
	return covered()
}
