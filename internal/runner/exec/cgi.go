package exec

import (
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly"
)

// parseCGI parses a response of RFC 3875 section 6: header lines, an empty line, the
// body. Location without a status is a redirect.
func parseCGI(data []byte) (mayfly.Reply, error) {
	head, body, ok := cutHeader(data)
	if !ok {
		return mayfly.Reply{}, malformed("no empty line after its headers within %d KiB", headSize>>10)
	}
	r := mayfly.Reply{Header: http.Header{}, Body: body, Length: int64(len(body))}
	for line := range strings.Lines(string(head)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !isToken(name) {
			return mayfly.Reply{}, malformed("%q is not a header line", mayfly.Clip(line))
		}
		name, value = textproto.CanonicalMIMEHeaderKey(name), strings.Trim(value, " \t")
		if !printable(value) {
			return mayfly.Reply{}, malformed("header %s contains a control character", name)
		}
		if name == "Status" {
			if r.Status, ok = parseStatus(value); !ok {
				return mayfly.Reply{}, malformed("%q is not a status", mayfly.Clip(value))
			}
		} else if !mayfly.IsHopByHop(name) && !mayfly.IsReserved(name) {
			r.Header.Add(name, value)
		}
	}
	if r.Status == 0 {
		r.Status = http.StatusOK
		if r.Header.Get("Location") != "" {
			r.Status = http.StatusFound
		}
	}
	return r, nil
}

// parseStatus parses "404 Not Found". It rejects 1xx, which is not a final status.
func parseStatus(value string) (status int, ok bool) {
	text, _, _ := strings.Cut(value, " ")
	status, err := strconv.Atoi(text)
	return status, err == nil && len(text) == 3 && status >= 200 && status <= 599
}

func malformed(format string, args ...any) error {
	return mayfly.Errorf(mayfly.Crashed, "the reply is not a CGI response: "+format, args...).
		WithHint("write headers such as Content-Type: text/plain and an empty line first, or drop cgi: true")
}

func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r)
	})
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}
