// Package console is the private HTTP door, for operators: metrics and profiles.
//
//	GET /metrics        Prometheus text
//	GET /debug/pprof/   Go's profiles
//	GET /healthz        liveness
//
// The gateway serves none of these paths but its own /healthz. On loopback the console
// accepts only this machine's own names. It is read-only.
package console
