package mayfly

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxPattern is the length of the longest Pattern, in bytes.
const MaxPattern = 512

// A Pattern selects the HTTP requests of a route, in the syntax of Go's
// http.ServeMux: "[METHOD ][HOST]/path/{name}/{rest...}". Without a method it matches
// every method, and GET matches HEAD too.
type Pattern struct {
	Method string
	Host   string
	Path   string
	Params []string // names of the path values, in order
}

// ParsePattern parses a pattern; errors have code Invalid. http.ServeMux accepts every
// Pattern.
func ParsePattern(s string) (Pattern, error) {
	bad := func(format string, args ...any) (Pattern, error) {
		e := Errorf(Invalid, "pattern %q: "+format, append([]any{Clip(s)}, args...)...)
		return Pattern{}, e.WithHint(`write it like "GET /orders/{id}"`)
	}
	if len(s) > MaxPattern {
		return bad("%d bytes long, at most %d are allowed", len(s), MaxPattern)
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return bad("it has a control character or is not UTF-8")
	}
	var p Pattern
	rest := s
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		p.Method, rest = s[:i], strings.TrimLeft(s[i:], " \t")
		if !isMethod(p.Method) {
			return bad("%q is not an HTTP method", Clip(p.Method))
		}
	}
	slash := strings.IndexByte(rest, '/')
	if slash < 0 {
		return bad("the path must start with /")
	}
	p.Host, p.Path = rest[:slash], rest[slash:]
	if strings.ContainsAny(p.Host, "{} \t") {
		return bad("the host has a brace or a space")
	}
	if p.Host != "" && p.Host != "localhost" && !strings.ContainsAny(p.Host, ".:") { // far more often a forgotten slash than a host
		return Pattern{}, Errorf(Invalid, "pattern %q: the path must start with /", Clip(s)).
			WithHint("write %s, or a host with its domain, such as %s.example/", strings.TrimSpace(p.Method+" /"+rest), p.Host)
	}
	if strings.ContainsAny(p.Path, " \t?#") {
		return bad("the path has a space, ? or #: query values need no pattern")
	}
	segments := strings.Split(p.Path[1:], "/")
	for i, segment := range segments {
		last := i == len(segments)-1
		if segment == "." || segment == ".." || segment == "" && !last {
			return bad("the path has an empty segment, . or .., which no request can match")
		}
		if !strings.ContainsAny(segment, "{}") {
			continue
		}
		if segment == "{$}" && last {
			continue
		}
		name, ok := strings.CutPrefix(segment, "{")
		name, closed := strings.CutSuffix(name, "}")
		if !ok || !closed {
			return bad("segment %q must be {name}, with nothing around it", Clip(segment))
		}
		if all, ok := strings.CutSuffix(name, "..."); ok {
			if name = all; !last {
				return bad("%q must be the last segment", Clip(segment))
			}
		}
		if !isIdentifier(name) {
			return bad("%q is not a valid name: use letters, digits (not first) and _", Clip(name))
		}
		if slices.Contains(p.Params, name) {
			return bad("{%s} appears twice", Clip(name))
		}
		p.Params = append(p.Params, name)
	}
	return p, nil
}

// MarshalText implements encoding.TextMarshaler.
func (p Pattern) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler by ParsePattern.
func (p *Pattern) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePattern(string(text))
	return err
}

// String returns the form that ParsePattern reads.
func (p Pattern) String() string {
	if p.Method == "" {
		return p.Host + p.Path
	}
	return p.Method + " " + p.Host + p.Path
}

// Values returns the path values of a request that http.ServeMux matched to the
// pattern, decoded, in the pattern's order; a {rest...} gives one value per segment, and
// none for an empty rest.
func (p Pattern) Values(r *http.Request) []string {
	values := make([]string, 0, len(p.Params))
	for i, name := range p.Params {
		v := r.PathValue(name)
		if i == len(p.Params)-1 && strings.HasSuffix(p.Path, "...}") {
			if v == "" {
				return values
			}
			return append(values, strings.Split(v, "/")...)
		}
		values = append(values, v)
	}
	return values
}

// isMethod reports whether s is an upper-case token: GET, not get.
func isMethod(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r != '-' && (r < 'A' || r > 'Z') })
}

// isIdentifier reports whether s is an ASCII identifier, as names of path values and
// placeholders must be: they become parts of header names.
func isIdentifier(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' && i > 0 {
			continue
		}
		return false
	}
	return s != "" && s != "_"
}

// reservedPaths are the first path segments that the gateway reserves for itself.
// A route may take / itself.
var reservedPaths = []string{"fn", "function", "async", "async-function", "jobs", "svc", "system", "openapi.json", "healthz", "readyz"}

// First returns the first segment of the path, unescaped.
func (p Pattern) First() string {
	first, _, _ := strings.Cut(strings.TrimPrefix(p.Path, "/"), "/")
	if plain, err := url.PathUnescape(first); err == nil {
		return plain // http.ServeMux reads %66n as fn
	}
	return first
}

// Reserved reports whether the pattern is below a path that the gateway reserves, so that
// no route may use it.
func (p Pattern) Reserved() bool { return slices.Contains(reservedPaths, p.First()) }
