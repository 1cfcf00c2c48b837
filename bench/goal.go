package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// A goal is a ratio that a contestant must reach over another.
type goal struct {
	what, over string
	load       string
	by         metric
	least, aim float64 // bounds from above if less is better
}

// goals are what a change to the path of a call is judged by, as are those with the other
// binary. docs/performance.md says which are reached.
var goals = []goal{
	{"function-node", "server-node", connectionsName(manyConnections), rate, 1.2, 1.6},
	{"function-node", "workerd", connectionsName(manyConnections), rate, 2, 3},
	{"function-node", "function-node-other", connectionsName(manyConnections), rate, 2, 2.6},
	{"function-go", "function-go-other", connectionsName(manyConnections), rate, 1.6, 2.2},
	{"function-go", "proxies-go", connectionsName(manyConnections), rate, 6, 9},
	{"function-go", "plain", connectionsName(manyConnections), rate, 0.6, 0.8},
	{"function-python", "tuned-python", connectionsName(manyConnections), rate, 5, 7},
	{"function-fastapi", "uvicorn", connectionsName(manyConnections), rate, 1, 1.5},
	{"function-fastapi", "pure-uvicorn", connectionsName(manyConnections), rate, 1, 1.5},
	{"embedded", "article", connectionsName(manyConnections), rate, 1.25, 1.45},
	{"function-node", "server-node", connectionsName(1), p50, 2.5, 1.8},
	{"function-node", "workerd", connectionsName(1), p50, 1.1, 0.8},
	{"function-go", "function-go-other", largeName(1 << 20), rate, 1, 1.5},
	{"function-go", "function-go-other", streamsName(1000), cpu, 0.7, 0.5},
}

// contestantsOfGoals returns all that the goals compare, but those with the other binary.
func contestantsOfGoals() (all []string) {
	for _, g := range goals {
		for _, name := range []string{g.what, g.over} {
			if !strings.HasSuffix(name, otherSuffix) && !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return all
}

// reached compares a ratio with the goal.
func (g goal) reached(x float64) string {
	better := func(bound float64) bool { return x >= bound && !g.by.lessIsBetter || x <= bound && g.by.lessIsBetter }
	switch {
	case better(g.aim):
		return "aim reached"
	case better(g.least):
		return "reached"
	}
	return "missed"
}

// printGoals writes the goals whose contestants and loads were measured.
func (r *result) printGoals(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, g := range goals {
		x, ok := r.compare(g.load, g.what, g.over, g.by)
		if !ok {
			continue
		}
		bound := "at least"
		if g.by.lessIsBetter {
			bound = "at most"
		}
		fmt.Fprintf(t, "%s / %s\t%s, %s\t%s %.2f, aim %.2f\t%s\t%s\n", g.what, g.over, g.by.name, g.load, bound, g.least, g.aim, x, g.reached(x.Median))
	}
	_ = t.Flush() // stdout
}
