package cli

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/mayfly-run/mayfly"
)

// A table is rows of cells, the first being the head. Cells may hold any text from a
// service.
type table [][]string

// add appends a row.
func (t *table) add(cells ...string) { *t = append(*t, cells) }

// addIf appends a row unless its value is empty.
func (t *table) addIf(head, value string) {
	if value != "" {
		t.add(head, value)
	}
}

// addPairs appends a row for each entry, by key.
func (t *table) addPairs(head string, pairs map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(pairs)) {
		t.add(head, k+"="+pairs[k])
	}
}

// print writes the table in aligned columns, each line after indent.
func (t table) print(w io.Writer, indent string) error {
	var b bytes.Buffer
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range t {
		cells := make([]string, len(row))
		for i, c := range row {
			cells[i] = mayfly.Clip(plain(c))
		}
		fmt.Fprintln(tw, indent+strings.Join(cells, "\t"))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		// An empty last cell leaves the padding of the one before it.
		if _, err := io.WriteString(w, strings.TrimRight(line, " \n")+"\n"); err != nil {
			return err
		}
	}
	return nil
}

func count[N int | uint64](n N) string { return strconv.FormatUint(uint64(n), 10) }
