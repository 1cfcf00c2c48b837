package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly"
)

// info is the verb info.
type info struct {
	client `embed:""`
	Name   string `arg:"" help:"Name of the service or function."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// Run is called by kong.
func (i *info) Run(ctx context.Context, p *process) error {
	if err := checkName(i.Name); err != nil {
		return err
	}
	b, err := i.open(ctx, p)
	if err != nil {
		return err
	}
	defer b.Close()
	answers, err := ask(ctx, b, "INFO", i.Name)
	if err != nil {
		return err
	}
	instances := parseAnswers(answers, infoID)
	if len(instances) == 0 {
		return nobodyCalled(ctx, b, i.Name)
	}
	if i.JSON {
		return writeJSON(p.stdout, instances)
	}
	for n, a := range instances {
		if n > 0 {
			fmt.Fprintln(p.stdout)
		}
		if err := p.printInstance(a); err != nil {
			return err
		}
	}
	return nil
}

// printInstance prints one instance: who it is, then its endpoints.
func (p *process) printInstance(a infoAnswer) error {
	head := table{{a.kind(), a.Name}, {"version", a.Version}, {"id", a.ID}}
	if a.Description != "" {
		head.add("description", a.Description)
	}
	for _, k := range slices.Sorted(maps.Keys(a.Metadata)) {
		head.add("metadata", k+"="+a.Metadata[k])
	}
	if err := head.print(p.stdout, ""); err != nil {
		return err
	}
	for _, e := range a.Endpoints {
		t := table{{"subject", e.Subject}}
		if e.Queue != "" {
			t.add("queue group", e.Queue)
		}
		for line := range strings.Lines(e.Metadata[mayfly.MetaHTTP]) {
			t.add("route", strings.TrimSpace(line))
		}
		for _, k := range slices.Sorted(maps.Keys(e.Metadata)) {
			if k != mayfly.MetaHTTP {
				t.add("metadata", k+"="+e.Metadata[k])
			}
		}
		fmt.Fprintf(p.stdout, "endpoint %s\n", clip(plain(e.Name)))
		if err := t.print(p.stdout, "  "); err != nil {
			return err
		}
	}
	return nil
}
