package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// A measurement is one contestant under one load in one round. With streams a call
// is an event, and its latency counts from its sending.
type measurement struct {
	Rate   float64       `json:"calls_per_second"`
	P50    time.Duration `json:"p50_ns"`
	P99    time.Duration `json:"p99_ns"`
	P999   time.Duration `json:"p999_ns"`
	CPU    float64       `json:"cpu_us_per_call"`      // all processes of the contestant
	Allocs float64       `json:"allocations_per_call"` // door
	Memory float64       `json:"rss_mib"`              // door, at the end
}

// A result is all measurements of one run.
type result struct {
	Go       string                              `json:"go"`
	CPUs     int                                 `json:"cpus"`
	Body     int                                 `json:"body_bytes"`
	Rounds   int                                 `json:"rounds"`
	Length   time.Duration                       `json:"length_ns"`
	Measured map[string]map[string][]measurement `json:"measured"` // load -> contestant -> rounds
	Ratios   map[string]map[string]ratio         `json:"ratios"`   // load -> "a/b calls/s", "a/b p50", "a/b CPU"

	Idle map[string]float64 `json:"idle_rss_mib"` // contestant -> door, before the first load

	loads, names []string
}

// A ratio is the median, min and max of the rounds' own ratios: within a round,
// both were measured under the same conditions.
type ratio struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func (x ratio) String() string { return fmt.Sprintf("%.2f (%.2f to %.2f)", x.Median, x.Min, x.Max) }

func newResult(p plan, contestants []*contestant) *result {
	r := &result{
		Go: runtime.Version(), CPUs: runtime.NumCPU(), Body: p.body, Rounds: p.rounds, Length: p.length,
		Measured: map[string]map[string][]measurement{}, Ratios: map[string]map[string]ratio{}, Idle: map[string]float64{},
	}
	for _, c := range contestants {
		r.names = append(r.names, c.name)
	}
	return r
}

func (r *result) add(name, load string, m measurement) {
	if r.Measured[load] == nil {
		r.Measured[load] = map[string][]measurement{}
		r.loads = append(r.loads, load)
	}
	r.Measured[load][name] = append(r.Measured[load][name], m)
}

// compare returns the ratio of two contestants under a load, by a metric.
func (r *result) compare(load, a, b string, by metric) (ratio, bool) {
	as, bs := r.Measured[load][a], r.Measured[load][b]
	if len(as) == 0 || len(as) != len(bs) {
		return ratio{}, false
	}
	var all []float64
	for i := range as {
		all = append(all, by.of(as[i])/by.of(bs[i]))
	}
	slices.Sort(all)
	return ratio{Median: median(all), Min: all[0], Max: all[len(all)-1]}, true
}

// median returns the middle of sorted values.
func median(sorted []float64) float64 {
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// of returns median, min and max of a metric over the rounds.
func of(ms []measurement, by metric) ratio {
	var all []float64
	for _, m := range ms {
		all = append(all, by.of(m))
	}
	slices.Sort(all)
	return ratio{Median: median(all), Min: all[0], Max: all[len(all)-1]}
}

// A metric is a property of measurements.
type metric struct {
	name         string
	of           func(measurement) float64
	lessIsBetter bool
}

var (
	rate   = metric{"calls/s", func(m measurement) float64 { return m.Rate }, false}
	p50    = metric{"p50", func(m measurement) float64 { return float64(m.P50) }, true}
	p99    = metric{"p99", func(m measurement) float64 { return float64(m.P99) }, true}
	p999   = metric{"p99.9", func(m measurement) float64 { return float64(m.P999) }, true}
	cpu    = metric{"CPU", func(m measurement) float64 { return m.CPU }, true}
	allocs = metric{"allocations", func(m measurement) float64 { return m.Allocs }, true}
	memory = metric{"memory", func(m measurement) float64 { return m.Memory }, true}
)

// pairs returns whom to compare.
func (r *result) pairs() (all [][2]string) {
	all = [][2]string{
		{"embedded", "article"},
		{"external", "article"},
		{"embedded", "plain"},
		{"article", "plain"},
		{"function-go", "plain"},
		{"function-go", "proxies-go"},
		{"function-node", "server-node"},
		{"function-node", "proxy-node"},
		{"function-node", "workerd"},
		{"function-node", "bun"},
		{"function-node", "deno"},
		{"function-node", "functions-framework"},
		{"function-python", "server-python"},
		{"function-python", "tuned-python"},
		{"function-fastapi", "uvicorn"},
		{"function-fastapi", "pure-uvicorn"},
	}
	for _, name := range r.names {
		all = append(all, [2]string{name, name + otherSuffix})
	}
	return all
}

// print writes the tables and fills in the ratios.
func (r *result) print(w io.Writer) {
	fmt.Fprintf(w, "%s, %d CPUs, %d-byte bodies, %d rounds of %s; medians\n", r.Go, r.CPUs, r.Body, r.Rounds, r.Length)
	for _, load := range r.loads {
		fmt.Fprintf(w, "\n%s\n", load)
		r.printLoad(w, load)
		r.Ratios[load] = map[string]ratio{}
		for _, pair := range r.pairs() {
			var texts []string
			for _, by := range []metric{rate, p50, cpu} {
				if x, ok := r.compare(load, pair[0], pair[1], by); ok {
					r.Ratios[load][pair[0]+"/"+pair[1]+" "+by.name] = x
					texts = append(texts, by.name+" "+x.String())
				}
			}
			if len(texts) > 0 {
				fmt.Fprintf(w, "  %s / %s: %s\n", pair[0], pair[1], strings.Join(texts, ", "))
			}
		}
	}
	fmt.Fprintln(w)
	r.printGoals(w)
}

// printLoad writes the table of one load.
func (r *result) printLoad(w io.Writer, load string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tcalls/s\tmin\tmax\tp50 us\tp99 us\tp99.9 us\tCPU us/call\tallocs/call\tRSS MiB\tidle MiB\t")
	for _, name := range r.names {
		ms := r.Measured[load][name]
		if len(ms) == 0 {
			continue
		}
		calls := of(ms, rate)
		us := func(m metric) float64 { return of(ms, m).Median / 1e3 }
		fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.1f\t%.0f\t%.0f\t%.0f\t\n", name, calls.Median, calls.Min, calls.Max,
			us(p50), us(p99), us(p999), of(ms, cpu).Median, of(ms, allocs).Median, of(ms, memory).Median, r.Idle[name])
	}
	_ = t.Flush() // stdout
}

// save writes a result as JSON, if a file is given.
func save(file string, result any) error {
	if file == "" {
		return nil
	}
	data, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}
