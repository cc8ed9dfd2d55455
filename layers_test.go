package main

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// floors is the drawing of ARCHITECTURE.md as data: a package may import only packages of a lower floor. A package that
// is not drawn here fails the test, so that a new one needs a decision.
var floors = map[string]int{
	"vipd/internal/lb": 0, "vipd/internal/vrrp": 0, "vipd/internal/bfd": 0, "vipd/internal/host": 0, "vipd/internal/loop": 0, "vipd/internal/need": 0, "vipd/internal/mail": 0, "vipd/internal/journal": 0,
	"vipd/bpf": 0, "vipd/examples/site": 0,
	"vipd/internal/health": 1, "vipd/internal/checkpath": 1, "vipd/internal/plane": 1, "vipd/internal/control": 1, "vipd/internal/connsync": 1, "vipd/internal/vm": 1,
	"vipd/internal/conf": 2, "vipd/internal/probe": 2, "vipd/internal/plane/xdp": 2, "vipd/internal/plane/ipvs": 2, "vipd/internal/plane/planetest": 2,
	"vipd/internal/lab": 2, "vipd/internal/lab/page": 3,
	"vipd/internal/doctor": 2, "vipd/internal/haproxy": 2, "vipd/internal/doctor/look": 3, "vipd/internal/realserver": 1, "vipd/internal/realserver/here": 3,
	"vipd/internal/daemon": 3,
	"vipd/internal/cli":    4,
	"vipd":                 5, "vipd/test": 5, "vipd/test/vm": 5,
}

// testSupport is imported by tests alone.
var testSupport = []string{"vipd/internal/need", "vipd/internal/vm"}

// pure packages decide and never touch: neither they nor anything that they import knows the network, another process
// or a logger, and they never read the clock. loop alone may read it, on behalf of the others.
var pure = []string{"vipd/internal/lb", "vipd/internal/bfd", "vipd/internal/loop", "vipd/internal/vrrp", "vipd/internal/health", "vipd/internal/plane", "vipd/internal/conf", "vipd/internal/connsync", "vipd/internal/realserver", "vipd/internal/doctor", "vipd/internal/haproxy"}

var (
	impure = []string{"net", "os/exec", "golang.org/x/sys/unix", "log", "log/slog"}
	clock  = []string{"Now", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep", "Since", "Until"}
)

type listed struct {
	ImportPath, Dir string
	Imports, Deps   []string
	GoFiles         []string
	TestImports     []string
	XTestImports    []string
}

func listPackages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,Deps,GoFiles,TestImports,XTestImports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestImportsGoDownAndNeverSideways(t *testing.T) {
	for _, p := range listPackages(t) {
		own, drawn := floors[p.ImportPath]
		if !drawn {
			t.Errorf("%s is not drawn in floors", p.ImportPath)
			continue
		}
		for _, i := range p.Imports {
			if !strings.HasPrefix(i, "vipd") {
				continue
			}
			if floors[i] >= own {
				t.Errorf("%s (floor %d) imports %s (floor %d)", p.ImportPath, own, i, floors[i])
			}
			if slices.Contains(testSupport, i) && !slices.Contains(testSupport, p.ImportPath) {
				t.Errorf("%s imports %s outside its tests", p.ImportPath, i)
			}
		}
	}
}

func TestTheCoreIsPure(t *testing.T) {
	for _, p := range listPackages(t) {
		if !slices.Contains(pure, p.ImportPath) {
			continue
		}
		for _, bad := range impure {
			if slices.Contains(p.Deps, bad) {
				t.Errorf("%s depends on %s", p.ImportPath, bad)
			}
		}
		if p.ImportPath == "vipd/internal/loop" {
			continue
		}
		for _, f := range p.GoFiles {
			for _, call := range clockReads(t, filepath.Join(p.Dir, f)) {
				t.Errorf("%s reads the clock: %s", p.ImportPath, call)
			}
		}
	}
}

// clockReads lists the places in a Go file that read the time or wait for it.
func clockReads(t *testing.T, path string) []string {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	ast.Inspect(file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clock, sel.Sel.Name) {
				found = append(found, set.Position(sel.Pos()).String()+" time."+sel.Sel.Name)
			}
		}
		return true
	})
	return found
}
