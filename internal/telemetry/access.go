package telemetry

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// An Access is one HTTP exchange in the access log.
type Access struct {
	Method string // clipped like all foreign text
	Path   string // escaped, without the query
	Status int    // 499 for a client that left
	Took   time.Duration
	Bytes  int    // of the answer's body
	Route  string // the pattern that matched, or what else answered: svc, builtin, none
	Call   string // id
	Err    string // empty if none
}

// An AccessLog writes the same lines as NewLog, byte for byte (FuzzAccessLine). It formats
// them by hand because there is one for each call: slog took a fifteenth of a node's time.
//
//	{"time":"...","level":"INFO","msg":"call","method":"GET","path":"/","status":200,...}
//	15:04:05 INFO  call method=GET path=/ status=200 ...
type AccessLog struct {
	w    *Batch // not an io.Writer, so that a line stays off the heap
	text bool   // for people; JSON otherwise
}

// NewAccessLog returns one with the format that NewLog would choose.
func NewAccessLog(w *Batch, format string, terminal bool) AccessLog {
	return AccessLog{w: w, text: format == "text" || format == "auto" && terminal}
}

// Log writes a line. Errors are dropped: a call does not fail because of its log.
func (l AccessLog) Log(a Access) {
	var room [512]byte // enough for nearly every line
	_, _ = l.w.Write(l.append(room[:0], time.Now(), a))
}

func (l AccessLog) append(line []byte, now time.Time, a Access) []byte {
	if l.text {
		return appendTextLine(line, now, a)
	}
	return appendJSONLine(line, now, a)
}

func appendJSONLine(line []byte, now time.Time, a Access) []byte {
	line = append(line, `{"time":"`...)
	line = now.AppendFormat(line, time.RFC3339Nano)
	line = append(line, `","level":"INFO","msg":"call","method":`...)
	line = appendJSON(line, a.Method)
	line = append(line, `,"path":`...)
	line = appendJSON(line, a.Path)
	line = append(line, `,"`+KeyStatus+`":`...)
	line = strconv.AppendInt(line, int64(a.Status), 10)
	line = append(line, `,"`+KeyTook+msSuffix+`":`...)
	line = strconv.AppendFloat(line, milliseconds(a.Took), 'f', -1, 64)
	line = append(line, `,"bytes":`...)
	line = strconv.AppendInt(line, int64(a.Bytes), 10)
	line = append(line, `,"`+KeyRoute+`":`...)
	line = appendJSON(line, a.Route)
	line = append(line, `,"`+KeyCall+`":`...)
	line = appendJSON(line, a.Call)
	if a.Err != "" {
		line = append(line, `,"`+KeyErr+`":`...)
		line = appendJSON(line, a.Err)
	}
	return append(line, "}\n"...)
}

func appendTextLine(line []byte, now time.Time, a Access) []byte {
	line = now.AppendFormat(line, "15:04:05 ")
	line = append(line, "INFO  call method="...)
	line = appendText(line, a.Method)
	line = append(line, " path="...)
	line = appendText(line, a.Path)
	line = append(line, " "+KeyStatus+"="...)
	line = strconv.AppendInt(line, int64(a.Status), 10)
	line = append(line, " "+KeyTook+"="...)
	line = append(line, a.Took.String()...)
	line = append(line, " bytes="...)
	line = strconv.AppendInt(line, int64(a.Bytes), 10)
	line = append(line, " "+KeyRoute+"="...)
	line = appendText(line, a.Route)
	line = append(line, " "+KeyCall+"="...)
	line = appendText(line, a.Call)
	if a.Err != "" {
		line = append(line, " "+KeyErr+"="...)
		line = appendText(line, a.Err)
	}
	return append(line, '\n')
}

// appendJSON appends s as a JSON string, escaped as slog does.
func appendJSON(line []byte, s string) []byte {
	const digits = "0123456789abcdef"
	line = append(line, '"')
	for i, r := range s {
		switch {
		case r == '"' || r == '\\':
			line = append(line, '\\', byte(r))
		case r == '\n':
			line = append(line, `\n`...)
		case r == '\r':
			line = append(line, `\r`...)
		case r == '\t':
			line = append(line, `\t`...)
		case r < ' ':
			line = append(line, '\\', 'u', '0', '0', digits[r>>4], digits[r&0xf])
		case r < utf8.RuneSelf:
			line = append(line, byte(r))
		case r == '\u2028' || r == '\u2029': // line ends in old JavaScript
			line = append(line, `\u202`...)
			line = append(line, digits[r&0xf])
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\ufffd"): // not UTF-8
			line = append(line, `\ufffd`...)
		default:
			line = utf8.AppendRune(line, r)
		}
	}
	return append(line, '"')
}

// appendText appends s, quoted if it could be read as more than one word.
func appendText(line []byte, s string) []byte {
	for _, r := range s {
		if r == '"' || r == '=' || r == utf8.RuneError || unicode.IsSpace(r) || r != 0x7f && !unicode.IsPrint(r) {
			return strconv.AppendQuote(line, s)
		}
	}
	if s == "" {
		return append(line, `""`...)
	}
	return append(line, s...)
}
