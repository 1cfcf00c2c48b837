package instance

import (
	"fmt"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"
)

// trace formats a panic: one line, and that with the user's part of the stack. folder is the
// prefix of files that is left out.
func trace(p any, folder string) (line, text string) {
	var b strings.Builder
	fmt.Fprintf(&b, "panic: %v\n\n", p)
	line, _, _ = strings.Cut(b.String(), "\n")
	line = strings.Map(printable, line[:min(len(line), 500)])
	pcs := make([]uintptr, 100)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	f, more := frames.Next() // this function
	ours := strings.TrimSuffix(f.Function, "trace")
	for panicked := false; more; {
		f, more = frames.Next()
		switch {
		case f.Function == "runtime.gopanic":
			panicked = true
		case f.Function == ours+"(*call).serve":
			return line, b.String()
		case panicked && !strings.HasPrefix(f.Function, "runtime.") && !strings.HasPrefix(f.Function, ours):
			fmt.Fprintf(&b, "%s\n\t%s:%d\n", f.Function, strings.TrimPrefix(f.File, folder), f.Line)
		}
	}
	return line, b.String()
}

func printable(r rune) rune {
	if unicode.IsPrint(r) && r != utf8.RuneError {
		return r
	}
	return ' '
}
