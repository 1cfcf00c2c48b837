package cli

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"
)

// history is the verb history.
type history struct {
	client `embed:""`
	Name   string `arg:"" help:"Function or service."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// Help is shown by mayfly history --help.
func (*history) Help() string {
	return `The newest revision comes first. The last 32 changes of a name are kept,
including scaling. A rollback is a revision of its own; FROM is the revision
whose code and settings it restored.`
}

// Run is called by kong.
func (h *history) Run(ctx context.Context, p *process) error {
	s, err := h.store(ctx, p, looks)
	if err != nil {
		return err
	}
	defer s.Close()
	lines, err := s.History(ctx, h.Name)
	if err != nil {
		return err
	}
	if h.JSON {
		return writeJSON(p.stdout, lines)
	}
	t := table{{"REVISION", "WHEN", "BY", "DIGEST", "FROM", "NOTE"}}
	for _, l := range lines {
		revision := count(l.Number)
		if l.Removed {
			revision = "removed"
		}
		t.add(revision, l.At.Local().Format(time.DateTime), dash(l.By), digestsOf(l.Bundles), countOr(l.From, "-"), l.Note)
	}
	return t.print(p.stdout, "")
}

// shortDigest is how much of a digest identifies it at a glance.
const shortDigest = 12

// digestsOf returns the beginning of each different digest.
func digestsOf(bundles map[string]string) string {
	var all []string
	for _, digest := range slices.Compact(slices.Sorted(maps.Values(bundles))) {
		all = append(all, digest[:min(shortDigest, len(digest))])
	}
	return dash(strings.Join(all, ","))
}

// dash marks an empty cell, to keep columns aligned.
func dash(s string) string { return cmp.Or(s, "-") }

// countOr formats a number, or what stands for 0.
func countOr[N int | uint64](n N, zero string) string {
	if n == 0 {
		return zero
	}
	return count(n)
}
