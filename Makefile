GO ?= go
BIN ?= bin/vipd
.DEFAULT_GOAL := build
.PHONY: help build forum deb rpm lab lab-web test check vm-test matrix ward continuity bench fuzz mutate cover bpf bpf-check setup-lab setup-test setup-bench clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

build: ## the static binary, bin/vipd (needs Go only)
	CGO_ENABLED=0 GOARCH=$(ARCH) $(GO) build -trimpath -ldflags '-s -w -X vipd/internal/daemon.version=$(VERSION)' -o $(BIN) .

forum: ## what the lab's real servers run, bin/forum
	cd examples/forum && CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(CURDIR)/bin/forum .

# A version is what the last tag says, and what came after it.
VERSION ?= $(shell sed -n 's/^var version = "\(.*\)"$$/\1/p' internal/daemon/failure.go)
ARCH ?= $(shell $(GO) env GOARCH)
DIST ?= out/package
PACKED ?= out/packed
# What tells of itself, where that for another processor cannot.
HERE := $(shell $(GO) env GOHOSTARCH)
SELF = $(if $(filter $(HERE),$(ARCH)),$(BIN),CGO_ENABLED=0 GOARCH=$(HERE) $(GO) run .)
package-files: build
	@rm -rf $(DIST) $(PACKED) && mkdir -p $(DIST) $(PACKED)
	@cp $(BIN) $(PACKED)/vipd
	@$(SELF) man | gzip -9n >$(PACKED)/vipd.8.gz
	@gzip -9nc docs/man/vipd.conf.5 >$(PACKED)/vipd.conf.5.gz
	@gzip -9nc CHANGELOG.md >$(PACKED)/changelog.gz
	@$(SELF) completion bash >$(PACKED)/vipd.bash
	@$(SELF) completion zsh >$(PACKED)/_vipd
	@$(SELF) completion fish >$(PACKED)/vipd.fish
	@packaging/changelog $(VERSION)-1 | gzip -9n >$(PACKED)/changelog.Debian.gz
	@packaging/copyright >$(PACKED)/copyright

deb: package-files ## the Debian package, in out/package
	VERSION=$(VERSION) ARCH=$(ARCH) PACKED=$(PACKED) $(GO) tool -modfile=packaging/nfpm/go.mod nfpm package -f packaging/nfpm.yaml -p deb -t $(DIST)/

rpm: package-files ## the RPM, in out/package
	VERSION=$(VERSION) ARCH=$(ARCH) PACKED=$(PACKED) $(GO) tool -modfile=packaging/nfpm/go.mod nfpm package -f packaging/nfpm.yaml -p rpm -t $(DIST)/

lab: setup-lab build forum ## set up everything and play the site on this machine (root): directors, real servers with a forum, what they share
	$(BIN) lab --site

lab-web: setup-lab build forum ## set up everything and watch the site in a browser, with buttons that kill and revive each part (root)
	$(BIN) lab web

test: setup-test build bpf-check check ## set up everything and run all tests (root)

check: ## the tests alone
	$(GO) vet ./...
	GOOS=windows CGO_ENABLED=0 $(GO) build -o /dev/null . # what is for real servers
	GOOS=windows CGO_ENABLED=0 $(GO) vet . ./internal/realserver/...
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	CGO_ENABLED=1 $(GO) test -race -timeout 20m $$($(GO) list ./... | grep -v '^vipd/test')
	CGO_ENABLED=1 $(GO) test -race -timeout 30m -v ./test/ # alone: it keeps real time
	cd examples/forum && $(GO) vet . && CGO_ENABLED=1 $(GO) test -race . # a module of its own
	$(GO) test -timeout 35m -v ./test/vm/ # alone: each VM wants a processor

vm-test: setup-test ## set up everything and run what needs a VM: Debian's kernel, its IPVS, the real ipvsadm
	$(GO) test -timeout 35m -v -count=1 ./internal/vm/ ./test/vm/

MODE ?= whole
matrix: setup-test ## every way of speaking VRRP beside keepalived and FRR, in a table; MODE=preempt, nopreempt or preempt_delay: these alone (root)
	VIPD_MATRIX=$(MODE) $(GO) test -timeout 40m -v -count=1 -run 'EveryWayOfSpeaking|FRR|VirtualMACs|ExtraAnnouncements' ./test/
	VIPD_MATRIX=$(MODE) $(GO) test -timeout 20m -v -count=1 -run InterfacesOfItsOwn ./test/vm/

ward: setup-test ## every fault that the doctor knows, made, found and mended by what it prints (root)
	$(GO) test -timeout 20m -v -count=1 -run TheDoctorFinds ./test/

ROUNDS ?= 50
continuity: setup-test ## 1,000 connections and 500 new ones a second through a pair whose directors are stopped, killed, cut off and replaced, ROUNDS times (root)
	VIPD_CONTINUITY=$(ROUNDS) $(GO) test -timeout 8h -v -count=1 -run NobodyNotices ./test/

FLOWS ?= 1,1024,65536,1048576,8388608
BENCH ?= out/bench
bench: export CI = 1# what is missing is a failure, and not left out
bench: setup-bench build ## what things cost, as tables and as JSON in out/bench (root; docs/bench.md says how to read it)
	@mkdir -p $(BENCH)
	$(GO) test -run '^$$' -bench 'Path|Sweep' -benchtime 1x -timeout 20m ./bpf/ -flows $(FLOWS) -figures $(abspath $(BENCH))/path.json
	$(GO) test -run '^$$' -bench Instructions -benchtime 1x -timeout 30m ./test/vm/ -figures $(abspath $(BENCH))/instructions.json
	VIPD=$(CURDIR)/$(BIN) $(GO) test -run '^$$' -bench EndToEnd -benchtime 1x -timeout 10m ./test/ -figures $(abspath $(BENCH))/end-to-end.json
	VIPD_BENCH=1 $(GO) test -timeout 90m -v -count=1 -run 'ChecksCost|TellingAndLearningCost' ./test/vm/
	$(GO) test -v -run 'ManyCPUs|ModelAgrees' ./bpf/ -rush 1m
	$(GO) test -run '^$$' -bench TenMillion -benchtime 1x -timeout 20m ./internal/plane/xdp/
	VIPD=$(CURDIR)/$(BIN) $(GO) test -run '^$$' -bench Large -benchtime 3x -timeout 20m ./internal/conf/
	VIPD_BENCH=1 $(GO) test -parallel 1 -timeout 4h -v -count=1 -run 'BesideKeepalived|FastAdverts|FiftyThousand' ./test/ # VIPD_FAILOVERS=50 for the long run
	$(GO) test -run '^$$' -bench Reload -benchtime 5x ./internal/daemon/

FUZZTIME ?= 30s
fuzz: ## every fuzz target for FUZZTIME each
	@for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
		done; \
	done

MUTATE ?= .
mutate: ## every small mistake in the C that MUTATE ("file:line: change") names, and the row that notices it (root, hours for all)
	VIPD_MUTATE='$(MUTATE)' $(GO) test -run Mutants -v -timeout 24h ./bpf/

COVER ?= .
cover: ## the conditions in the files of C that COVER names which no row makes true, or false (root, minutes)
	VIPD_COVER='$(COVER)' $(GO) test -run '^TestBranches$$' -v -timeout 2h ./bpf/

bpf: ## regenerate the BPF object and its Go types (needs clang-19)
	$(GO) generate ./bpf/

bpf-check: bpf ## fail if the committed BPF object is not what its source compiles to
	@git diff --exit-code --stat -- bpf || { echo "the committed BPF object differs from its source: run make bpf and commit"; exit 1; }

setup-lab:
	@GO=$(GO) .ci/setup lab

setup-test:
	@GO=$(GO) .ci/setup test

setup-bench:
	@GO=$(GO) .ci/setup bench

clean: ## remove what was built
	rm -rf bin out
