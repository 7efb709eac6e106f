# `make help` lists the targets.

# The race detector needs cgo, that is, a C compiler.
RACE := $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)
STATICCHECK := bin/staticcheck

.PHONY: help test lint bench fmt redis-server

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "%-14s %s\n", $$1, $$2}'

test: redis-server ## run all tests, with -race where a C compiler is present
	@$(if $(RACE),,echo 'no C compiler: tests run without the race detector')
	go test $(RACE) -timeout 10m ./...

lint: $(STATICCHECK) ## gofmt, go vet, staticcheck
	@files=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$files" || { echo "not formatted: $$files (run make fmt)"; exit 1; }
	go vet ./...
	$(STATICCHECK) ./...

fmt: ## format all Go files
	gofmt -w $$(git ls-files '*.go')

bench: redis-server ## run the benchmarks that stand next to the code
	go test -run '^$$' -bench . -benchmem ./...

$(STATICCHECK): tools/go.mod tools/go.sum
	cd tools && go build -o ../$@ honnef.co/go/tools/cmd/staticcheck

redis-server:
	@command -v redis-server >/dev/null || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo 'installing redis-server'; \
			{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server; } >/dev/null; \
		else \
			echo 'the tests need redis-server: apt-get install redis-server (as root), or brew install redis' >&2; exit 1; \
		fi; }
