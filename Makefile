# `make help` lists the targets.

# The race detector needs cgo, that is, a C compiler. It changes what is
# allocated, so budgets of allocations are tested without it.
RACE := $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)
STATICCHECK := bin/staticcheck
MODULES := . internal/integration benchmarks
BENCHSTAT := bin/benchstat

.PHONY: help docs test test-valkey fuzz lint fmt bench bench-quick bench-micro bench-compare profile redis-server

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "%-14s %s\n", $$1, $$2}'

test: redis-server ## run all tests, with -race where a C compiler is present
	@$(if $(RACE),,echo 'no C compiler: tests run without the race detector')
	@"$${EVENTS_REDIS_SERVER:-redis-server}" --version
	go test $(RACE) -timeout 10m ./...
	$(if $(RACE),go test -run Allocations ./...)
	cd internal/integration && go test $(RACE) -short ./...
	cd benchmarks && go test $(RACE) ./harness ./report && go test ./...

test-effects: redis-server ## kill 50 consumers among 10 000 events, on each way to effects that happen once
	cd internal/integration && go test $(RACE) -count 1 -run Effects -v ./...

test-valkey: ## run the tests of the Redis transport on Valkey, where it can be installed
	@scripts/install-valkey
	@if command -v valkey-server >/dev/null; then \
		valkey-server --version && EVENTS_REDIS_SERVER=valkey-server go test $(RACE) -count 1 -timeout 10m ./transport/redis; \
	else \
		echo 'valkey: not run, not installed'; \
	fi

fuzz: ## run each fuzz target of the Redis transport and of JSON as text: FUZZTIME=1m
	for dir in transport/redis internal/jsontext; do \
		for target in $$(grep -ho '^func Fuzz[A-Za-z]*' $$dir/*_test.go | cut -c6-); do \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(or $(FUZZTIME),1m) ./$$dir || exit 1; done; done

lint: $(STATICCHECK) ## gofmt, go vet, staticcheck
	@files=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$files" || { echo "not formatted: $$files (run make fmt)"; exit 1; }
	for module in $(MODULES); do (cd $$module && go vet ./... && $(CURDIR)/$(STATICCHECK) ./...) || exit 1; done

docs: ## write what of the documentation follows from the code
	go generate ./internal/docgen

fmt: ## format all Go files
	gofmt -w $$(git ls-files '*.go')

# A page that Go gave back and takes again is a page fault: see benchmarks/README.md.
bench bench-quick profile: export GODEBUG = madvdontneed=0

bench: redis-server ## put the library beside its peers and write benchmarks/REPORT.md: about 22 minutes
	cd benchmarks && go run . -out . $(BENCHFLAGS)

bench-quick: redis-server ## the most important scenarios of it, in under 2 minutes, without a report
	cd benchmarks && go run . -quick -passes 1 -rounds 3 -most 3 -duration 200ms $(BENCHFLAGS)

profile: redis-server ## profile a scenario: SCENARIO=publish-64 CONTESTANT='events redis' DURATION=5s
	cd benchmarks && ../scripts/profile "$(SCENARIO)" "$(CONTESTANT)" "$(DURATION)"

bench-micro: ## run the benchmarks that stand next to the code
	go test -run '^$$' -bench . -benchmem ./...

bench-compare: $(BENCHSTAT) ## compare them with the last commit: BENCH=regexp PKG=./... COUNT=6 TIME=1s
	scripts/bench-compare

$(STATICCHECK): tools/go.mod tools/go.sum
	cd tools && go build -o ../$@ honnef.co/go/tools/cmd/staticcheck

$(BENCHSTAT): tools/go.mod tools/go.sum
	cd tools && go build -o ../$@ golang.org/x/perf/cmd/benchstat

redis-server:
	@command -v redis-server >/dev/null || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo 'installing redis-server'; \
			{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server; } >/dev/null; \
		else \
			echo 'the tests need redis-server: apt-get install redis-server (as root), or brew install redis' >&2; exit 1; \
		fi; }
