package telemetry_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mayfly-run/mayfly/internal/telemetry"
)

func TestMetricsAreReadWhenAsked(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics()
	var calls float64
	var took telemetry.Histogram
	m.Counter("mayfly_calls_total", "Calls.", func() float64 { return calls }, "door", "gateway")
	m.Gauge("mayfly_calls", "Calls in hand.", func() float64 { return -calls })
	m.CounterVec("mayfly_errors_total", "Errors.", []string{"code"}, func(emit func(float64, ...string)) {
		emit(1, "timeout")
		emit(2, "denied")
	})
	m.GaugeVec("mayfly_instances", "Instances.", []string{"function", "state"}, func(emit func(float64, ...string)) {
		emit(3, "hello", "ready")
	})
	m.Histogram("mayfly_took_seconds", "Time.", nil, func(emit func(telemetry.HistogramSnapshot, ...string)) {
		emit(took.Snapshot())
	})
	calls = 7
	took.Observe(time.Second)
	took.Observe(2 * time.Minute)

	want := `# HELP mayfly_calls Calls in hand.
# TYPE mayfly_calls gauge
mayfly_calls -7
# HELP mayfly_calls_total Calls.
# TYPE mayfly_calls_total counter
mayfly_calls_total{door="gateway"} 7
# HELP mayfly_errors_total Errors.
# TYPE mayfly_errors_total counter
mayfly_errors_total{code="denied"} 2
mayfly_errors_total{code="timeout"} 1
# HELP mayfly_instances Instances.
# TYPE mayfly_instances gauge
mayfly_instances{function="hello",state="ready"} 3
# HELP mayfly_took_seconds Time.
# TYPE mayfly_took_seconds histogram
mayfly_took_seconds_bucket{le="0.00025"} 0
mayfly_took_seconds_bucket{le="0.0005"} 0
mayfly_took_seconds_bucket{le="0.001"} 0
mayfly_took_seconds_bucket{le="0.0025"} 0
mayfly_took_seconds_bucket{le="0.005"} 0
mayfly_took_seconds_bucket{le="0.01"} 0
mayfly_took_seconds_bucket{le="0.025"} 0
mayfly_took_seconds_bucket{le="0.05"} 0
mayfly_took_seconds_bucket{le="0.1"} 0
mayfly_took_seconds_bucket{le="0.25"} 0
mayfly_took_seconds_bucket{le="0.5"} 0
mayfly_took_seconds_bucket{le="1"} 1
mayfly_took_seconds_bucket{le="2.5"} 1
mayfly_took_seconds_bucket{le="5"} 1
mayfly_took_seconds_bucket{le="10"} 1
mayfly_took_seconds_bucket{le="30"} 1
mayfly_took_seconds_bucket{le="60"} 1
mayfly_took_seconds_bucket{le="+Inf"} 2
mayfly_took_seconds_sum 121
mayfly_took_seconds_count 2
`
	if diff := cmp.Diff(want, scrape(t, m, "mayfly_")); diff != "" {
		t.Error(diff)
	}
}

func TestMetricsHoldThoseOfGoAndOfTheProcess(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics()
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes"} {
		if got := scrape(t, m, name); !strings.Contains(got, "\n"+name+" ") {
			t.Errorf("no %s", name)
		}
	}
}

func TestMetricsSurviveBadText(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics()
	m.GaugeVec("mayfly_services", "Services.", []string{"service"}, func(emit func(float64, ...string)) {
		emit(1, "a\xff\"\n")
		emit(2, "twice")
		emit(3, "twice")
		emit(4, "too", "many")
	})
	m.Gauge("mayfly_up", "Up.", func() float64 { return 1 })
	got := scrape(t, m, "mayfly_")
	for _, want := range []string{`mayfly_services{service="a` + "\uFFFD" + `\"\n"} 1`, `mayfly_services{service="twice"} 2`, "mayfly_up 1"} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("%s is missing in\n%s", want, got)
		}
	}
}

func TestANameTwiceIsAFault(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("the second metric of one name was taken")
		}
	}()
	m := telemetry.NewMetrics()
	m.Gauge("mayfly_up", "Up.", func() float64 { return 1 })
	m.Gauge("mayfly_up", "Up.", func() float64 { return 1 })
}

// scrape returns the lines about metrics whose names start with prefix.
func scrape(t *testing.T, m *telemetry.Metrics, prefix string) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	var b strings.Builder
	for line := range strings.Lines(w.Body.String()) {
		name := strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE ")
		if strings.HasPrefix(name, prefix) {
			b.WriteString(line)
		}
	}
	return b.String()
}
