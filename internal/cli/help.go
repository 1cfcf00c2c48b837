package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/alecthomas/kong"
	"github.com/mayfly-run/mayfly/internal/config"
)

// overview is the output of mayfly without arguments.
const overview = `Mayfly turns NATS into a home for microservices and functions.

  mayfly new hello --lang js        create a small function with a test
  mayfly up hello                   run it here; saved changes go live at once
  mayfly deploy hello               run it on all nodes until it is removed

  mayfly up                         run a node: NATS, JetStream and a gateway
  mayfly up ./shop                  run a node with the project in ./shop
  mayfly up --nats nats://host      run a node on your NATS server or cluster

  mayfly list                       list functions and services
  mayfly call Shop price '{"n":3}'  call one and print its reply
  mayfly logs hello -f              follow its logs
  mayfly stats --watch              watch requests, errors and latency

  mayfly --help                     list all commands
  mayfly up --help                  list all settings of a node
`

// helpWidth is fixed, so that the help reads the same in a terminal, a file and a test.
const helpWidth = 80

// printHelp prints the help of the selected command, or of all.
func printHelp(w io.Writer, c *kong.Context) error {
	var b strings.Builder
	command := c.Selected()
	if command == nil {
		writeCommands(&b, c.Model.Node)
	} else {
		writeCommand(&b, command)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeCommands(b *strings.Builder, root *kong.Node) {
	b.WriteString("Usage: mayfly COMMAND [ARGUMENTS] [FLAGS]\n")
	group := ""
	for _, c := range root.Children {
		if c.Group.Title != group {
			group = c.Group.Title
			fmt.Fprintf(b, "\n%s:\n", group)
		}
		writeEntry(b, "  "+strings.Join(append([]string{c.Name}, c.Aliases...), ", "), c.Help, 16)
	}
	b.WriteString("\nRun mayfly COMMAND --help to see the flags of a command.\n")
	b.WriteString("Exit codes: 0 ok, 1 internal error, 2 invalid request, 3 denied, 4 not found,\n")
	b.WriteString("            5 conflict, 6 unavailable, busy or timed out, 7 function failed.\n")
}

func writeCommand(b *strings.Builder, command *kong.Node) {
	lead := "Usage: "
	for usage := range strings.SplitSeq(command.Tag.Get("usage"), ";") {
		fmt.Fprintf(b, "%s%s\n", lead, strings.TrimRight("mayfly "+command.Name+" "+usage, " "))
		lead = "       "
	}
	fmt.Fprintf(b, "\n%s\n", wrap(command.Help, helpWidth, ""))
	if command.Detail != "" {
		fmt.Fprintf(b, "\n%s\n", strings.TrimSpace(command.Detail))
	}
	for _, g := range flagGroups {
		column := 0
		var entries [][2]string
		for _, f := range allFlags(command) {
			if groupOf(f.Name) == g.title {
				e := flagEntry(f)
				entries = append(entries, e)
				column = max(column, utf8.RuneCountInString(e[0])+2)
			}
		}
		if len(entries) == 0 {
			continue
		}
		fmt.Fprintf(b, "\n%s:\n", g.title)
		for _, e := range entries {
			writeEntry(b, e[0], e[1], column)
		}
	}
}

// flagGroups are the headings of flags, in order. A flag belongs to the one that lists
// its name or the part before the dot, else to the first.
var flagGroups = []struct {
	title string
	words []string
}{
	{"Flags", nil},
	{"Existing NATS server", []string{"nats", "creds", "user", "password", "token", "context", "tls"}},
	{"NATS account of Mayfly's own state", []string{"core"}},
	{"Embedded NATS server", []string{"bus"}},
	{"Gateway (HTTP)", []string{"gateway"}},
	{"Admin server (metrics and profiles)", []string{"admin"}},
	{"Log", []string{"log"}},
	{"Secrets", []string{"secret-key"}},
}

func groupOf(flag string) string {
	word, _, _ := strings.Cut(flag, ".")
	for _, g := range flagGroups {
		if slices.Contains(g.words, word) {
			return g.title
		}
	}
	return flagGroups[0].title
}

// flagEntry returns the two columns of a flag.
func flagEntry(f *kong.Flag) [2]string {
	name := "      --" + f.Name
	if f.Short != 0 {
		name = fmt.Sprintf("  -%c, --%s", f.Short, f.Name)
	}
	if p := placeholder(f); p != "" {
		name += " " + p
	}
	help := f.Help
	switch {
	case f.IsBool() && f.Default == "true":
		help += fmt.Sprintf(" On by default; --%s=false turns it off.", f.Name)
	case f.Default != "" && !f.IsBool():
		help += fmt.Sprintf(" (default %s)", f.Default)
	}
	return [2]string{name, help}
}

// placeholder returns the placeholder of a flag's value.
func placeholder(f *kong.Flag) string {
	if f.IsBool() {
		return ""
	}
	if f.PlaceHolder != "" {
		return f.PlaceHolder
	}
	if f.Enum != "" {
		return strings.Join(f.EnumSlice(), "|")
	}
	switch f.Target.Interface().(type) {
	case time.Duration:
		return "TIME"
	case config.Bytes:
		return "SIZE"
	case int:
		return "N"
	}
	if strings.HasSuffix(f.Name, ".addr") {
		return "HOST:PORT"
	}
	return "TEXT"
}

// writeEntry writes a name and, at column, its help.
func writeEntry(b *strings.Builder, name, help string, column int) {
	text := wrap(help, helpWidth-column, strings.Repeat(" ", column))
	fmt.Fprintf(b, "%-*s%s\n", column, name, text)
}

// wrap breaks text into lines of at most width, all but the first after indent.
func wrap(text string, width int, indent string) string {
	var b strings.Builder
	used := 0
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case used+1+n > width:
			b.WriteString("\n" + indent)
			used = 0
		default:
			b.WriteByte(' ')
			used++
		}
		b.WriteString(word)
		used += n
	}
	return b.String()
}
