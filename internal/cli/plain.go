package cli

import (
	"strings"
	"unicode"
)

// plain returns s as one line that a terminal shows and never obeys. Names,
// descriptions and errors come from whoever is on the bus: an escape sequence in
// one would move the cursor, a bidirectional mark would turn the line around.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		default:
			return r
		}
	}, s)
}

// clip shortens text from outside that would push the rest off the screen.
func clip(s string) string {
	const most = 120
	if n := 0; len(s) > most {
		for i := range s {
			if n++; n > most {
				return s[:i] + "..."
			}
		}
	}
	return s
}

// clipList joins the first items and says how many more there are.
func clipList(items []string, most int) string {
	if len(items) <= most {
		return strings.Join(items, ", ")
	}
	return strings.Join(items[:most], ", ") + ", +" + count(len(items)-most)
}
