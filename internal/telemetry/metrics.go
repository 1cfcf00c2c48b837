package telemetry

import (
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are numbers that are read at each scrape. A duplicate name, or one that
// Prometheus rejects, is a bug in the program and panics.
type Metrics struct {
	registry *prometheus.Registry
}

// NewMetrics returns Metrics with those of the Go runtime and of the process.
func NewMetrics() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Counter adds a number that only grows. labels alternates constant names and values.
func (m *Metrics) Counter(name, help string, value func() float64, labels ...string) {
	m.add(name, help, nil, labels, numbers(prometheus.CounterValue, single(value)))
}

// Gauge adds a number that goes up and down. labels are as with Counter.
func (m *Metrics) Gauge(name, help string, value func() float64, labels ...string) {
	m.add(name, help, nil, labels, numbers(prometheus.GaugeValue, single(value)))
}

// CounterVec adds numbers that only grow, distinguished by labels. collect emits each with
// its label values, no two alike.
func (m *Metrics) CounterVec(name, help string, labels []string, collect func(emit func(v float64, values ...string))) {
	m.add(name, help, labels, nil, numbers(prometheus.CounterValue, collect))
}

// GaugeVec adds numbers that go up and down, as CounterVec does.
func (m *Metrics) GaugeVec(name, help string, labels []string, collect func(emit func(v float64, values ...string))) {
	m.add(name, help, labels, nil, numbers(prometheus.GaugeValue, collect))
}

// Histogram adds durations in seconds, distinguished by labels, which may be nil.
func (m *Metrics) Histogram(name, help string, labels []string, collect func(emit func(h HistogramSnapshot, values ...string))) {
	m.add(name, help, labels, nil, func(desc *prometheus.Desc, out chan<- prometheus.Metric) {
		collect(func(h HistogramSnapshot, values ...string) {
			buckets := make(map[float64]uint64, len(h.Buckets))
			for _, b := range h.Buckets {
				buckets[b.Le.Seconds()] = b.Count
			}
			metric, err := prometheus.NewConstHistogram(desc, h.Count, h.Sum.Seconds(), buckets, clean(values)...)
			send(out, desc, metric, err)
		})
	})
}

// Handler answers with all numbers in the text format of Prometheus. A number that fails
// does not hide the others.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

func (m *Metrics) add(name, help string, labels, constant []string, collect collectFunc) {
	pairs := prometheus.Labels{}
	for pair := range slices.Chunk(constant, 2) {
		pairs[pair[0]] = pair[1]
	}
	m.registry.MustRegister(collector{
		desc:    prometheus.NewDesc(name, help, labels, pairs),
		collect: collect,
	})
}

// A collector is one metric, whatever its labels.
type collector struct {
	desc    *prometheus.Desc
	collect collectFunc
}

type collectFunc func(desc *prometheus.Desc, out chan<- prometheus.Metric)

func (c collector) Describe(out chan<- *prometheus.Desc) { out <- c.desc }

func (c collector) Collect(out chan<- prometheus.Metric) { c.collect(c.desc, out) }

func numbers(kind prometheus.ValueType, collect func(emit func(v float64, values ...string))) collectFunc {
	return func(desc *prometheus.Desc, out chan<- prometheus.Metric) {
		collect(func(v float64, values ...string) {
			metric, err := prometheus.NewConstMetric(desc, kind, v, clean(values)...)
			send(out, desc, metric, err)
		})
	}
}

func single(value func() float64) func(emit func(v float64, values ...string)) {
	return func(emit func(v float64, values ...string)) { emit(value()) }
}

func send(out chan<- prometheus.Metric, desc *prometheus.Desc, metric prometheus.Metric, err error) {
	if err != nil {
		metric = prometheus.NewInvalidMetric(desc, err)
	}
	out <- metric
}

// clean makes label values valid: any client on the bus can choose a service's name.
func clean(values []string) []string {
	for i, v := range values {
		values[i] = strings.ToValidUTF8(v, "\uFFFD")
	}
	return values
}
