package cli

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly/internal/gateway"
	"github.com/mayfly-run/mayfly/internal/telemetry"
)

// accessLines writes the access log: the lines that telemetry.NewLog would write,
// byte for byte (FuzzAccessLine), made by hand because there is one for each call.
// By way of slog they took a fifteenth of a node's time.
//
//	{"time":"...","level":"INFO","msg":"call","method":"GET","path":"/","status":200,...}
//	15:04:05 INFO  call method=GET path=/ status=200 ...
type accessLines struct {
	log  *accessLog
	text bool // for people; JSON otherwise
}

// newAccessLines returns lines of the format that telemetry.NewLog knows.
func newAccessLines(log *accessLog, format string, terminal bool) accessLines {
	return accessLines{log: log, text: format == "text" || format == "auto" && terminal}
}

// Log implements gateway.AccessLog.
func (l accessLines) Log(a gateway.Access) {
	var room [512]byte // nearly every line
	_, _ = l.log.Write(l.append(room[:0], time.Now(), a))
}

func (l accessLines) append(line []byte, now time.Time, a gateway.Access) []byte {
	if l.text {
		return appendTextLine(line, now, a)
	}
	return appendJSONLine(line, now, a)
}

func appendJSONLine(line []byte, now time.Time, a gateway.Access) []byte {
	line = append(line, `{"time":"`...)
	line = now.AppendFormat(line, time.RFC3339Nano)
	line = append(line, `","level":"INFO","msg":"call","method":`...)
	line = appendJSON(line, a.Method)
	line = append(line, `,"path":`...)
	line = appendJSON(line, a.Path)
	line = append(line, `,"`+telemetry.KeyStatus+`":`...)
	line = strconv.AppendInt(line, int64(a.Status), 10)
	line = append(line, `,"`+telemetry.KeyTook+`":`...)
	line = strconv.AppendInt(line, int64(a.Took), 10)
	line = append(line, `,"bytes":`...)
	line = strconv.AppendInt(line, int64(a.Bytes), 10)
	line = append(line, `,"`+telemetry.KeyRoute+`":`...)
	line = appendJSON(line, a.Route)
	line = append(line, `,"`+telemetry.KeyCall+`":`...)
	line = appendJSON(line, a.Call)
	if a.Err != "" {
		line = append(line, `,"`+telemetry.KeyErr+`":`...)
		line = appendJSON(line, a.Err)
	}
	return append(line, "}\n"...)
}

func appendTextLine(line []byte, now time.Time, a gateway.Access) []byte {
	line = now.AppendFormat(line, "15:04:05 ")
	line = append(line, "INFO  call method="...)
	line = appendText(line, a.Method)
	line = append(line, " path="...)
	line = appendText(line, a.Path)
	line = append(line, " "+telemetry.KeyStatus+"="...)
	line = strconv.AppendInt(line, int64(a.Status), 10)
	line = append(line, " "+telemetry.KeyTook+"="...)
	line = append(line, a.Took.String()...)
	line = append(line, " bytes="...)
	line = strconv.AppendInt(line, int64(a.Bytes), 10)
	line = append(line, " "+telemetry.KeyRoute+"="...)
	line = appendText(line, a.Route)
	line = append(line, " "+telemetry.KeyCall+"="...)
	line = appendText(line, a.Call)
	if a.Err != "" {
		line = append(line, " "+telemetry.KeyErr+"="...)
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
		case r == '\u2028' || r == '\u2029': // line ends, to a JavaScript of old
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

// appendText appends s, quoted if it could be taken for more than one word.
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
