package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/micro"
)

// stats is the verb stats.
type stats struct {
	client `embed:""`
	Name   string `arg:"" optional:"" help:"Function or service; all by default."`
	JSON   bool   `name:"json" help:"Print JSON."`
	Watch  bool   `name:"watch" short:"w" help:"Refresh every second until Ctrl-C; RATE/s then covers the last second."`
}

// Help is shown by mayfly stats --help.
func (*stats) Help() string {
	return `The numbers are what the services report, summed over the instances that answer
or, for a function, over its nodes. Without --watch, RATE/s is the mean since
the instances started.`
}

// A statsRow is an endpoint of a service, summed over its instances.
type statsRow struct {
	Service   string  `json:"service"`
	Endpoint  string  `json:"endpoint"`
	Subject   string  `json:"subject"`
	Instances int     `json:"instances"`
	Requests  uint64  `json:"requests"`
	Errors    uint64  `json:"errors"`
	Rate      float64 `json:"rate"`       // requests per second
	Average   float64 `json:"average_ns"` // time of one request
	LastError string  `json:"last_error"`

	total float64 // time of all requests
}

// A rowKey identifies a row.
type rowKey struct{ service, endpoint, subject string }

func (r statsRow) key() rowKey { return rowKey{r.Service, r.Endpoint, r.Subject} }

// A sample is the counters of the endpoints at one moment.
type sample struct {
	at       time.Time
	requests map[rowKey]uint64
}

// Run is called by kong.
func (s *stats) Run(ctx context.Context, p *process) error {
	if s.Name != "" {
		if err := checkName(s.Name); err != nil {
			return err
		}
	}
	b, err := s.open(ctx, p)
	if err != nil {
		return err
	}
	defer b.Close()
	if s.Watch {
		var last sample
		return p.watching(ctx, func(ctx context.Context, w io.Writer) error {
			rows, now, err := s.look(ctx, b)
			if err != nil {
				return err
			}
			if !last.at.IsZero() {
				setRates(rows, last, now)
			}
			last = sampleOf(rows, now)
			return s.print(w, rows)
		})
	}
	rows, _, err := s.look(ctx, b)
	if err != nil {
		return err
	}
	if len(rows) == 0 && s.Name != "" {
		return nobodyCalled(ctx, b, s.Name)
	}
	if len(rows) == 0 && !s.JSON {
		p.note("no services at %s", b.URL())
	}
	return s.print(p.stdout, rows)
}

// look asks for the numbers. Their time is that of the question, because gathering takes
// much longer than answering.
func (s *stats) look(ctx context.Context, b *bus.Bus) ([]statsRow, time.Time, error) {
	now := time.Now()
	found := micro.Stats(b)
	if err := found.Ask(ctx, s.Name); err != nil {
		return nil, now, err
	}
	return sumStats(found.Answers(), now), now, nil
}

// sumStats adds up the instances of each endpoint.
func sumStats(answers []micro.Statistics, now time.Time) []statsRow {
	rows := []statsRow{} // not nil: in JSON an empty list is []
	at := map[rowKey]int{}
	for _, a := range answers {
		for _, e := range a.Endpoints {
			k := rowKey{a.Name, e.Name, e.Subject}
			i, ok := at[k]
			if !ok {
				i = len(rows)
				at[k] = i
				rows = append(rows, statsRow{Service: a.Name, Endpoint: e.Name, Subject: e.Subject})
			}
			r := &rows[i]
			if ofFunction(e.Subject) {
				r.Instances += e.Live.Instances
			} else {
				r.Instances++
			}
			r.Requests += e.Requests
			r.Errors += e.Errors
			r.total += float64(e.Time)
			r.LastError = cmp.Or(r.LastError, e.LastError)
			if age := now.Sub(a.Started).Seconds(); age > 0 && !a.Started.IsZero() {
				r.Rate += float64(e.Requests) / age
			}
		}
	}
	for i := range rows {
		if r := &rows[i]; r.Requests > 0 {
			r.Average = r.total / float64(r.Requests)
		}
	}
	slices.SortStableFunc(rows, func(a, b statsRow) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.Subject, b.Subject))
	})
	return rows
}

func sampleOf(rows []statsRow, now time.Time) sample {
	s := sample{at: now, requests: map[rowKey]uint64{}}
	for _, r := range rows {
		s.requests[r.key()] = r.Requests
	}
	return s
}

// setRates sets the rates between two samples. Fewer requests than before mean that an
// instance left: the rate of this second is then unknown.
func setRates(rows []statsRow, last sample, now time.Time) {
	passed := now.Sub(last.at).Seconds()
	for i := range rows {
		r := &rows[i]
		before, known := last.requests[r.key()]
		r.Rate = 0
		if known && r.Requests >= before && passed > 0 {
			r.Rate = float64(r.Requests-before) / passed
		}
	}
}

func (s *stats) print(w io.Writer, rows []statsRow) error {
	if s.JSON {
		return writeJSON(w, rows)
	}
	t := table{{"SERVICE", "ENDPOINT", "INSTANCES", "REQUESTS", "ERRORS", "ERROR%", "RATE/s", "AVG", "LAST ERROR"}}
	for _, r := range rows {
		percent := 0.0
		if r.Requests > 0 {
			percent = 100 * float64(r.Errors) / float64(r.Requests)
		}
		t.add(r.Service, r.Endpoint, count(r.Instances), count(r.Requests), count(r.Errors),
			fmt.Sprintf("%.1f", percent), fmt.Sprintf("%.1f", r.Rate), short(time.Duration(r.Average)), r.LastError)
	}
	return t.print(w, "")
}
