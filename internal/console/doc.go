// Package console is the private HTTP door, for operators: metrics and profiles.
//
//	GET /metrics        Prometheus text
//	GET /debug/pprof/   Go's profiles
//	GET /healthz        the process lives
//
// Nothing of it stands on the gateway's door. It answers only to this machine's
// own names while it listens on loopback, and it changes nothing.
package console
