# syntax=docker/dockerfile:1

# Three images from one file. --target mayfly and --target worker (the example) hold one
# static binary: no shell, no libc, no packages. --target languages adds what functions in
# JavaScript and Python need.

FROM golang:1.26.8 AS build
WORKDIR /src
# The modules change less often than the code: they have a layer of their own.
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ENV CGO_ENABLED=0
# Of a release: docker build --build-arg VERSION=1.2.3
ARG VERSION=
ENV GOFLAGS="'-ldflags=-s -X=github.com/mayfly-run/mayfly/internal/cli.version=${VERSION}'"
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    go build -trimpath -o /out/mayfly ./cmd/mayfly && \
    go build -trimpath -o /out/worker ./examples/createtask/worker
# Scratch cannot make folders. An empty one, owned by the user that runs, gives
# its owner to a new volume mounted there.
RUN mkdir /out/data /out/tmp

FROM scratch AS worker
COPY --from=build /out/worker /worker
USER 65532:65532
ENTRYPOINT ["/worker"]

FROM node:24-slim AS languages
RUN apt-get update && \
    apt-get install -y --no-install-recommends ca-certificates python3 && \
    rm -rf /var/lib/apt/lists/*
COPY LICENSE NOTICE /usr/local/share/doc/mayfly/
COPY --from=build /out/mayfly /usr/local/bin/mayfly
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
EXPOSE 8080
VOLUME /data
ENTRYPOINT ["/usr/local/bin/mayfly"]
CMD ["up", "--data", "/data"]

# The last stage is what a build without --target makes.
FROM scratch AS mayfly
COPY LICENSE NOTICE /
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
