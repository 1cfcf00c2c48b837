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

// newMetrics names every metric of a node, here and nowhere else. The parts count
// for themselves; their Stats are read when somebody asks for /metrics.
func newMetrics(n *Node) *telemetry.Metrics {
	m := telemetry.NewMetrics()
	m.Gauge("mayfly_info", "Always 1; the labels say what runs.",
		func() float64 { return 1 }, "version", n.options.Version, "nats_server", n.bus.ServerVersion())
	gatewayMetrics(m, n.gateway)
	functionMetrics(m, n.runner)
	m.Counter("mayfly_log_lines_total", "Lines that instances wrote.",
		func() float64 { return float64(n.store.logStats().Lines) })
	m.Counter("mayfly_log_lines_dropped_total", "Of them, those that were not stored: NATS was away or slower than the lines.",
		func() float64 { return float64(n.store.logStats().Dropped) })
	busMetrics(m, n.bus)
	m.Gauge("mayfly_services", "Instances of micro services that are known.",
		func() float64 { return float64(len(n.directory.Services())) })
	m.Gauge("mayfly_endpoints", "Endpoints of those instances.", func() float64 {
		count := 0
		for _, s := range n.directory.Services() {
			count += len(s.Endpoints)
		}
		return float64(count)
	})
	m.Counter("mayfly_discovery_rejected_total", "Answers to discovery that made no sense and were dropped.",
		func() float64 { return float64(n.directory.Hostile()) })
	return m
}

func gatewayMetrics(m *telemetry.Metrics, g *gateway.Gateway) {
	m.CounterVec("mayfly_calls_total", "Requests that the gateway has answered, by HTTP status; 499 if the client left.",
		[]string{"status"}, func(emit func(v float64, values ...string)) {
			for status, count := range g.Stats().Statuses {
				emit(float64(count), strconv.Itoa(status))
			}
		})
	m.CounterVec("mayfly_errors_total", "Requests that ended in an error of the gateway's own, by its code.",
		[]string{"code"}, func(emit func(v float64, values ...string)) {
			for code, count := range g.Stats().Errors {
				emit(float64(count), code.String())
			}
		})
	m.Histogram("mayfly_call_seconds", "Time from a request's headers to the end of its answer, by what answered.",
		[]string{"kind"}, func(emit func(h telemetry.HistogramSnapshot, values ...string)) {
			for kind, h := range g.Stats().Durations {
				emit(h, kind)
			}
		})
	m.Gauge("mayfly_calls_in_flight", "Requests that the gateway has not answered yet.",
		func() float64 { return float64(g.Stats().InFlight) })
	m.Gauge("mayfly_routes", "Routes in force.", func() float64 { return float64(g.Stats().Routes) })
	m.Gauge("mayfly_routes_shadowed", "Routes that lost their pattern to another.",
		func() float64 { return float64(g.Stats().Shadowed) })
}

// maxTold is how many functions and services have numbers of their own: who
// scrapes pays for each. Those of the others, by name, are summed up under a name that
// none can have.
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
	add(m.CounterVec, "mayfly_function_calls_total", "Calls of a function that are over and were admitted.",
		functions, func(s runner.Stats) float64 { return float64(s.Requests) })
	add(m.CounterVec, "mayfly_function_errors_total", "Of them, those with a status of 500 and more, or without a reply.",
		functions, func(s runner.Stats) float64 { return float64(s.Errors) })
	add(m.CounterVec, "mayfly_function_processing_seconds_total", "Time of all calls together, from admission to the reply's end.",
		functions, func(s runner.Stats) float64 { return s.Processing.Seconds() })
	add(m.GaugeVec, "mayfly_function_calls_in_flight", "Calls in a function's instances.",
		functions, func(s runner.Stats) float64 { return float64(s.InFlight) })
	add(m.GaugeVec, "mayfly_function_calls_waiting", "Calls that wait for an instance.",
		functions, func(s runner.Stats) float64 { return float64(s.Waiting) })
	add(m.CounterVec, "mayfly_function_calls_rejected_total", "Calls that were not admitted, because too many waited.",
		functions, func(s runner.Stats) float64 { return float64(s.Rejected) })
	add(m.CounterVec, "mayfly_instance_starts_total", "Starts of a function's or hosted service's instances.",
		all, func(s runner.Stats) float64 { return float64(s.Starts) })
	add(m.CounterVec, "mayfly_instance_crashes_total", "Starts that failed, and instances that ended by themselves.",
		all, func(s runner.Stats) float64 { return float64(s.Crashes) })
	m.GaugeVec("mayfly_instances", "Instances of a function or hosted service: those that start, work and stop.", []string{"function"},
		func(emit func(v float64, values ...string)) {
			tell(all(), func(name string) float64 {
				s, _ := r.State(name)
				return float64(len(s.Instances))
			}, emit)
		})
}

// tell emits the value of each name, as far as there is room for it.
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

func busMetrics(m *telemetry.Metrics, b *bus.Bus) {
	gauge := func(name, help string, value func(bus.Stats) float64) {
		m.Gauge(name, help, func() float64 { return value(b.Stats()) })
	}
	counter := func(name, help string, value func(bus.Stats) uint64) {
		m.Counter(name, help, func() float64 { return float64(value(b.Stats())) })
	}
	m.Gauge("mayfly_ready", "1 while calls can be made and JetStream answers, else 0.", func() float64 {
		if b.Ready() != nil {
			return 0
		}
		return 1
	})
	gauge("mayfly_nats_connections", "Connections to NATS that are up.", func(s bus.Stats) float64 { return float64(s.Connected) })
	counter("mayfly_nats_reconnects_total", "Connections to NATS that were restored.", func(s bus.Stats) uint64 { return s.Reconnects })
	counter("mayfly_nats_messages_in_total", "Messages received from NATS.", func(s bus.Stats) uint64 { return s.MessagesIn })
	counter("mayfly_nats_messages_out_total", "Messages sent to NATS.", func(s bus.Stats) uint64 { return s.MessagesOut })
	counter("mayfly_nats_bytes_in_total", "Bytes received from NATS.", func(s bus.Stats) uint64 { return s.BytesIn })
	counter("mayfly_nats_bytes_out_total", "Bytes sent to NATS.", func(s bus.Stats) uint64 { return s.BytesOut })
	gauge("mayfly_replies_waiting", "Calls that wait for a reply.", func(s bus.Stats) float64 { return float64(s.Waiting) })
	counter("mayfly_replies_late_total", "Replies that came when nobody waited any more.", func(s bus.Stats) uint64 { return s.Late })
	counter("mayfly_calls_retried_total", "Calls sent a second time because nobody had got them.", func(s bus.Stats) uint64 { return s.Retried })
	counter("mayfly_calls_nobody_total", "Calls that reached nobody the second time too.", func(s bus.Stats) uint64 { return s.Nobody })
	gauge("mayfly_jetstream_streams", "Streams of our account.", func(s bus.Stats) float64 { return float64(s.JetStream.Streams) })
	gauge("mayfly_jetstream_consumers", "Consumers of our account.", func(s bus.Stats) float64 { return float64(s.JetStream.Consumers) })
	gauge("mayfly_jetstream_memory_bytes", "Bytes that our account's streams hold in memory.", func(s bus.Stats) float64 { return float64(s.JetStream.Memory) })
	gauge("mayfly_jetstream_storage_bytes", "Bytes that our account's streams hold on disk.", func(s bus.Stats) float64 { return float64(s.JetStream.Storage) })
	counter("mayfly_jetstream_api_errors_total", "Errors of our account's JetStream API.", func(s bus.Stats) uint64 { return s.JetStream.API.Errors })
}
