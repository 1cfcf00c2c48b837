# What CI runs, and the parts of it by themselves.

.PHONY: check test race lint build fuzz fire engine release

check:
	bash .ci/run

test:
	go test ./...

race:
	go test -race ./...

lint:
	go vet ./...
	go tool staticcheck ./...
	test -z "$$(go tool gofumpt -l .)"

build:
	CGO_ENABLED=0 go build -trimpath -o bin/mayfly ./cmd/mayfly

# Binaries for all platforms, packages and checksums in dist/, tried from the files. The
# version is that of the commit's tag: make release VERSION=1.2.3 names another.
release:
	release/build
	release/try

# Clusters, outages, overload, thousands of slow clients. These tests measure, so
# they want the machine for themselves.
fire:
	go test -count=1 -tags fire -run '^TestFire' -timeout 20m ./internal/node -fire 20s -outage 3m -v

# The images on a Docker engine of the test's own: compose.yaml, and functions.
engine:
	go test -count=1 -tags engine -run '^TestOnAnEngine$$' -timeout 20m -v ./internal/image

# Each fuzz target for a while: make fuzz TIME=1m
TIME ?= 20s
fuzz:
	@grep -rl '^func Fuzz' --include='*_test.go' . | while read -r f; do \
		sed -n 's/^func \(Fuzz[A-Za-z0-9]*\).*/\1/p' "$$f" | while read -r t; do \
			go test "./$$(dirname "$$f")" -run '^$$' -fuzz "^$$t\$$" -fuzztime $(TIME) || exit 1; \
		done || exit 1; \
	done
