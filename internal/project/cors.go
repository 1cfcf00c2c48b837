package project

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/yamlfile"
)

const anyOrigin = "*"

var corsKeys = table[mayfly.CORS]{
	set("origins", asOrigins, func(c *mayfly.CORS) *[]string { return &c.Origins },
		"Origins that may use it, such as https://shop.example: one or a list. `*` is any.").required("no page may use it", "https://shop.example"),
	set("methods", asList(asMethod), func(c *mayfly.CORS) *[]string { return &c.Methods },
		"Methods that they may use. By default those of the pattern."),
	set("headers", asList(asHeader), func(c *mayfly.CORS) *[]string { return &c.Headers },
		"Request headers that they may send, besides the safelisted ones. By default Content-Type."),
	set("expose", asList(asHeader), func(c *mayfly.CORS) *[]string { return &c.Expose },
		"Reply headers that they may read."),
	set("credentials", asBool, func(c *mayfly.CORS) *bool { return &c.Credentials },
		"Whether requests may carry cookies. Not with origin `*`.").and(checkCredentials).or(false),
	set("maxage", asAge, func(c *mayfly.CORS) *mayfly.Duration { return &c.MaxAge },
		"How long a browser may cache the answer, such as 10m."),
}

var (
	asOrigins = asList(asWord("an origin such as https://shop.example, or *", `^\*$|^[A-Za-z][A-Za-z0-9+.-]*://[^/?#*, ]+$`, origin))
	asMethod  = asWord("an HTTP method in capitals", "^[^ ,]+$", method)
	asHeader  = asWord("a header name", "^[^ ,]+$", httpToken)
)

// asWord is text that accept takes; what says what that is.
func asWord(what, pattern string, accept func(string) (string, bool)) kind[string] {
	return kind[string]{matching(pattern), func(n *yamlfile.Node) (string, error) {
		s, err := n.Str()
		if err != nil {
			return "", err
		}
		v, ok := accept(s)
		if !ok {
			return "", n.Errorf("%q in %s is not %s", mayfly.Clip(s), n.Path, what)
		}
		return v, nil
	}}
}

// cors is a key whose value is origins, or a map.
func cors[T any](name string, field func(*T) **mayfly.CORS, doc string) key[T] {
	s := schema{"anyOf": []schema{asOrigins.schema, corsKeys.schema()}}
	return own(name, s, func(m *manifest, n *yamlfile.Node, t *T) (err error) {
		c := &mayfly.CORS{}
		*field(t) = c
		if n.Kind == yamlfile.Map {
			return corsKeys.read(m, n, n, c)
		}
		c.Origins, err = asOrigins.read(n)
		return err
	}, doc).group(corsKeys.rows())
}

func checkCredentials(n *yamlfile.Node, c *mayfly.CORS) error {
	if c.Credentials && slices.Contains(c.Origins, anyOrigin) {
		return n.Errorf("credentials with origin * would let every web page act as its visitor").WithHint("replace * with the origins you trust")
	}
	return nil
}

// origin returns s as browsers send it: in lower case, without a path.
func origin(s string) (string, bool) {
	if s == anyOrigin {
		return s, true
	}
	s = strings.ToLower(s)
	u, err := url.Parse(s)
	ok := err == nil && u.Host != "" && u.Hostname() != "" && s == u.Scheme+"://"+u.Host && !strings.ContainsAny(u.Host, "*,")
	return s, ok
}

func method(s string) (string, bool) {
	_, ok := httpToken(s)
	return s, ok && s == strings.ToUpper(s)
}

// httpToken accepts what RFC 9110 calls so, such as the name of a header.
func httpToken(s string) (string, bool) {
	return s, tokens.MatchString(s)
}

var tokens = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
