# syntax=docker/dockerfile:1

# Two images from one file: --target mayfly and --target worker (the example).
# Each holds one static binary and nothing else: no shell, no libc, no packages.

FROM golang:1.26.8 AS build
WORKDIR /src
# The modules change less often than the code: they have a layer of their own.
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ENV CGO_ENABLED=0
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    go build -trimpath -ldflags=-s -o /out/mayfly ./cmd/mayfly && \
    go build -trimpath -ldflags=-s -o /out/worker ./examples/createtask/worker
# Scratch cannot make folders. An empty one, owned by the user that runs, gives
# its owner to a new volume mounted there.
RUN mkdir /out/data /out/tmp

FROM scratch AS worker
COPY --from=build /out/worker /worker
USER 65532:65532
ENTRYPOINT ["/worker"]

# The last stage is what a build without --target makes.
FROM scratch AS mayfly
COPY --from=build /out/mayfly /mayfly
COPY --from=build --chown=65532:65532 /out/data /data
COPY --from=build --chown=65532:65532 /out/tmp /tmp
USER 65532:65532
# On loopback inside a container nobody reaches a port: say --gateway.addr and
# --gateway.open, as compose.yaml does.
EXPOSE 8080
VOLUME /data
ENTRYPOINT ["/mayfly"]
CMD ["up", "--data", "/data"]
