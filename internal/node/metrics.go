package node

import (
	"slices"
	"strconv"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/gateway"
	"github.com/mayfly-run/mayfly/internal/runner"
	"github.com/mayfly-run/mayfly/internal/telemetry"
)

// newMetrics names every metric of a node, here and nowhere else. Each part counts for
// itself; its Stats are read at every scrape.
func newMetrics(n *Node) *telemetry.Metrics {
	m := telemetry.NewMetrics()
	m.Gauge("mayfly_info", "Always 1; the labels say what runs.",
		func() float64 { return 1 }, "version", n.options.Version, "nats_server", n.bus.ServerVersion())
	gatewayMetrics(m, n.gateway)
	functionMetrics(m, n.runner)
	m.Counter("mayfly_log_lines_total", "Lines written by instances.",
		func() float64 { return float64(n.store.logStats().Lines) })
	m.Counter("mayfly_log_lines_dropped_total", "Lines that were not stored: written too fast, or NATS was unreachable or too slow.",
		func() float64 { return float64(n.store.logStats().Dropped) })
	busMetrics(m, n.bus, n.ready)
	m.Gauge("mayfly_services", "Known instances of micro services.",
		func() float64 { return float64(len(n.directory.Services())) })
	m.Gauge("mayfly_endpoints", "Endpoints of those instances.", func() float64 {
		count := 0
		for _, s := range n.directory.Services() {
			count += len(s.Endpoints)
		}
		return float64(count)
	})
	m.Counter("mayfly_discovery_rejected_total", "Discovery replies that could not be parsed and were dropped.",
		func() float64 { return float64(n.directory.Hostile()) })
	return m
}

func gatewayMetrics(m *telemetry.Metrics, g *gateway.Gateway) {
	m.CounterVec("mayfly_calls_total", "Requests answered by the gateway, by HTTP status; 499 if the client canceled.",
		[]string{"status"}, func(emit func(v float64, values ...string)) {
			for status, count := range g.Stats().Statuses {
				emit(float64(count), strconv.Itoa(status))
			}
		})
	m.CounterVec("mayfly_errors_total", "Requests that ended in an error of the gateway itself, by code.",
		[]string{"code"}, func(emit func(v float64, values ...string)) {
			for code, count := range g.Stats().Errors {
				emit(float64(count), code.String())
			}
		})
	m.Histogram("mayfly_call_seconds", "Time from the headers of a request to the end of its response, by what answered.",
		[]string{"kind"}, func(emit func(h telemetry.HistogramSnapshot, values ...string)) {
			for kind, h := range g.Stats().Durations {
				emit(h, kind)
			}
		})
	m.Gauge("mayfly_calls_in_flight", "Requests in progress in the gateway.",
		func() float64 { return float64(g.Stats().InFlight) })
	m.Gauge("mayfly_routes", "Routes in force.", func() float64 { return float64(g.Stats().Routes) })
	m.Gauge("mayfly_routes_shadowed", "Routes whose pattern is taken by another.",
		func() float64 { return float64(g.Stats().Shadowed) })
}

// maxTold bounds how many functions and services have series of their own, because each
// one costs at every scrape. The rest, by name, are summed up under a name that no
// function can have.
const (
	maxTold = 1000
	others  = "(others)"
)

func functionMetrics(m *telemetry.Metrics, r *runner.Runner) {
	functions := func() (names []string) {
		for _, u := range r.Units() {
			if u.Kind == mayfly.KindFunction {
				names = append(names, string(u.Name))
			}
		}
		return names
	}
	all := func() (names []string) {
		for _, u := range r.Units() {
			names = append(names, string(u.Name))
		}
		return names
	}
	type vec = func(name, help string, labels []string, collect func(emit func(v float64, values ...string)))
	add := func(kind vec, name, help string, names func() []string, value func(runner.Stats) float64) {
		kind(name, help, []string{"function"}, func(emit func(v float64, values ...string)) {
			tell(names(), func(name string) float64 {
				s, _ := r.Stats(name) // of one that has just gone: zeros
				return value(s)
			}, emit)
		})
	}
	m.Gauge("mayfly_functions", "Functions that this node serves.", func() float64 { return float64(len(functions())) })
	add(m.CounterVec, "mayfly_function_calls_total", "Finished calls of a function, without rejected ones.",
		functions, func(s runner.Stats) float64 { return float64(s.Requests) })
	add(m.CounterVec, "mayfly_function_errors_total", "Finished calls of a function with a status of 500 or more, or without a reply.",
		functions, func(s runner.Stats) float64 { return float64(s.Errors) })
	add(m.CounterVec, "mayfly_function_processing_seconds_total", "Total time of a function's calls, from admission to the end of the reply.",
		functions, func(s runner.Stats) float64 { return s.Processing.Seconds() })
	add(m.GaugeVec, "mayfly_function_calls_in_flight", "Calls in progress in the instances of a function.",
		functions, func(s runner.Stats) float64 { return float64(s.InFlight) })
	add(m.GaugeVec, "mayfly_function_calls_waiting", "Calls waiting for an instance.",
		functions, func(s runner.Stats) float64 { return float64(s.Waiting) })
	add(m.CounterVec, "mayfly_function_calls_rejected_total", "Calls rejected because too many were waiting.",
		functions, func(s runner.Stats) float64 { return float64(s.Rejected) })
	add(m.CounterVec, "mayfly_instance_starts_total", "Starts of a function's or hosted service's instances.",
		all, func(s runner.Stats) float64 { return float64(s.Starts) })
	add(m.CounterVec, "mayfly_instance_crashes_total", "Failed starts, and instances that exited on their own.",
		all, func(s runner.Stats) float64 { return float64(s.Crashes) })
	m.GaugeVec("mayfly_instances", "Instances of a function or hosted service: those that start, work and stop.", []string{"function"},
		func(emit func(v float64, values ...string)) {
			tell(all(), func(name string) float64 {
				s, _ := r.State(name)
				return float64(len(s.Instances))
			}, emit)
		})
}

// tell emits the value of each name, up to maxTold.
func tell(names []string, value func(name string) float64, emit func(v float64, values ...string)) {
	slices.Sort(names)
	names = slices.Compact(names)
	sum := 0.0
	for i, name := range names {
		if i < maxTold {
			emit(value(name), name)
		} else {
			sum += value(name)
		}
	}
	if len(names) > maxTold {
		emit(sum, others)
	}
}

func busMetrics(m *telemetry.Metrics, b *bus.Bus, ready func() error) {
	gauge := func(name, help string, value func(bus.Stats) float64) {
		m.Gauge(name, help, func() float64 { return value(b.Stats()) })
	}
	counter := func(name, help string, value func(bus.Stats) uint64) {
		m.Counter(name, help, func() float64 { return float64(value(b.Stats())) })
	}
	m.Gauge("mayfly_ready", "1 while calls can be made and JetStream answers, else 0.", func() float64 {
		if ready() != nil {
			return 0
		}
		return 1
	})
	gauge("mayfly_nats_connections", "Open connections to NATS.", func(s bus.Stats) float64 { return float64(s.Connected) })
	counter("mayfly_nats_reconnects_total", "Reconnects to NATS.", func(s bus.Stats) uint64 { return s.Reconnects })
	counter("mayfly_nats_messages_in_total", "Messages received from NATS.", func(s bus.Stats) uint64 { return s.MessagesIn })
	counter("mayfly_nats_messages_out_total", "Messages sent to NATS.", func(s bus.Stats) uint64 { return s.MessagesOut })
	counter("mayfly_nats_bytes_in_total", "Bytes received from NATS.", func(s bus.Stats) uint64 { return s.BytesIn })
	counter("mayfly_nats_bytes_out_total", "Bytes sent to NATS.", func(s bus.Stats) uint64 { return s.BytesOut })
	gauge("mayfly_replies_waiting", "Calls waiting for a reply.", func(s bus.Stats) float64 { return float64(s.Waiting) })
	counter("mayfly_replies_late_total", "Replies that came after their call had ended.", func(s bus.Stats) uint64 { return s.Late })
	counter("mayfly_replies_rejected_total", "Replies not sent because the reply subject is not an inbox.", func(s bus.Stats) uint64 { return s.Rejected })
	counter("mayfly_calls_retried_total", "Calls sent a second time because they had no responders.", func(s bus.Stats) uint64 { return s.Retried })
	counter("mayfly_calls_nobody_total", "Calls that had no responders the second time either.", func(s bus.Stats) uint64 { return s.Nobody })
	gauge("mayfly_jetstream_streams", "Streams in all of Mayfly's accounts.", func(s bus.Stats) float64 { return float64(s.JetStream.Streams) })
	gauge("mayfly_jetstream_consumers", "Consumers in all of Mayfly's accounts.", func(s bus.Stats) float64 { return float64(s.JetStream.Consumers) })
	gauge("mayfly_jetstream_memory_bytes", "Memory used by these streams.", func(s bus.Stats) float64 { return float64(s.JetStream.Memory) })
	gauge("mayfly_jetstream_storage_bytes", "Disk space used by these streams.", func(s bus.Stats) float64 { return float64(s.JetStream.Store) })
	counter("mayfly_jetstream_api_errors_total", "JetStream API errors in these accounts.", func(s bus.Stats) uint64 { return s.JetStream.API.Errors })
}
