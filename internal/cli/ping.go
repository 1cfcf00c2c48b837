package cli

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/micro"
)

// ping is the verb ping.
type ping struct {
	client `embed:""`
	Name   string `arg:"" optional:"" help:"Function or service; all by default."`
	JSON   bool   `name:"json" help:"Print JSON."`
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
	found := micro.Pings(b)
	if err := found.Ask(ctx, v.Name); err != nil {
		return err
	}
	pongs := found.Answers()
	slices.SortStableFunc(pongs, func(a, b micro.Pong) int { return cmp.Compare(a.RTT, b.RTT) })
	if len(pongs) == 0 && v.Name != "" {
		return mayfly.Errorf(mayfly.Unavailable, "no instance of %q answers", v.Name).
			WithHint("run mayfly list to see what is running")
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

// short formats a duration with about three digits.
func short(d time.Duration) string {
	for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
		if d >= unit {
			return d.Round(unit / 100).String()
		}
	}
	return d.String()
}
