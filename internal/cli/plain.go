package cli

import (
	"strings"
	"unicode"
)

// plain returns s as one line without control characters. Names, descriptions and errors
// come from any client on the bus: an escape sequence would move the cursor, a
// bidirectional mark would reverse the line.
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

// clipList joins the first items and counts the rest.
func clipList(items []string, most int) string {
	if len(items) <= most {
		return strings.Join(items, ", ")
	}
	return strings.Join(items[:most], ", ") + ", +" + count(len(items)-most)
}
