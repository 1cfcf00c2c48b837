package cli

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
)

// ping is the verb ping.
type ping struct {
	client `embed:""`
	Name   string `arg:"" optional:"" help:"Name of the service or function; all if not given."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// A pong is one instance's sign of life.
type pong struct {
	Name    string        `json:"name"`
	ID      string        `json:"id"`
	Version string        `json:"version"`
	RTT     time.Duration `json:"rtt_ns"`
}

// Run is called by kong.
func (v *ping) Run(ctx context.Context, p *process) error {
	if v.Name != "" {
		if err := checkName(v.Name); err != nil {
			return err
		}
	}
	b, err := v.open(ctx, p)
	if err != nil {
		return err
	}
	defer b.Close()
	answers, err := ask(ctx, b, "PING", v.Name)
	if err != nil {
		return err
	}
	pongs := parsePongs(answers)
	if len(pongs) == 0 && v.Name != "" {
		return mayfly.Errorf(mayfly.Unavailable, "no instance of %q answers", v.Name).
			WithHint("mayfly list shows the services that are there")
	}
	if len(pongs) == 0 {
		return mayfly.Errorf(mayfly.Unavailable, "no service answers at %s", b.URL()).
			WithHint("start one with NATS_URL=%s", b.URL())
	}
	if v.JSON {
		return writeJSON(p.stdout, pongs)
	}
	t := table{{"NAME", "VERSION", "ID", "RTT"}}
	for _, g := range pongs {
		t.add(g.Name, g.Version, g.ID, short(g.RTT))
	}
	return t.print(p.stdout, "")
}

// parsePongs keeps what parses, the fastest first.
func parsePongs(answers []bus.Answer) []pong {
	var pongs []pong
	for _, a := range answers {
		var id identity
		if json.Unmarshal(a.Body, &id) == nil && id.valid() {
			pongs = append(pongs, pong{id.Name, id.ID, id.Version, a.Took})
		}
	}
	slices.SortStableFunc(pongs, func(a, b pong) int { return int(a.RTT - b.RTT) })
	return pongs
}

// short writes a duration with about three digits.
func short(d time.Duration) string {
	for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
		if d >= unit {
			return d.Round(unit / 100).String()
		}
	}
	return d.String()
}
