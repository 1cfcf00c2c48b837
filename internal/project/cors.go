package project

import (
	"net/url"
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/yamlfile"
)

const (
	anyOrigin = "*"
	anOrigin  = "an origin such as https://shop.example, or *"
)

// parseCORS reads cors: which is an origin, a list of them, or a map.
func parseCORS(n *yamlfile.Node) (c *mayfly.CORS, err error) {
	c = &mayfly.CORS{}
	if n.Kind != yamlfile.Map {
		c.Origins, err = parseEach(n, anOrigin, origin)
		return c, err
	}
	if err := n.Only("origins", "methods", "headers", "expose", "credentials", "maxage"); err != nil {
		return nil, err
	}
	v := n.Get("origins")
	if v == nil {
		return nil, n.Errorf("%s has no origins: nobody may use it", n.Path)
	}
	if c.Origins, err = parseEach(v, anOrigin, origin); err != nil {
		return nil, err
	}
	if v := n.Get("methods"); v != nil {
		if c.Methods, err = parseEach(v, "an HTTP method in capitals", method); err != nil {
			return nil, err
		}
	}
	if v := n.Get("headers"); v != nil {
		if c.Headers, err = parseEach(v, "the name of a header", httpToken); err != nil {
			return nil, err
		}
	}
	if v := n.Get("expose"); v != nil {
		if c.Expose, err = parseEach(v, "the name of a header", httpToken); err != nil {
			return nil, err
		}
	}
	if v := n.Get("maxage"); v != nil {
		if c.MaxAge, err = v.Duration(); err != nil {
			return nil, err
		}
		if c.MaxAge < 0 {
			return nil, v.Errorf("maxage %s is less than 0", v.Text)
		}
	}
	if v := n.Get("credentials"); v != nil {
		if c.Credentials, err = v.Bool(); err != nil {
			return nil, err
		}
		if c.Credentials && slices.Contains(c.Origins, anyOrigin) {
			return nil, v.Errorf("credentials for the origin * would let every web page act as its visitor").WithHint("list the origins")
		}
	}
	return c, nil
}

// parseEach reads one text or a list, each of which read must accept; what says
// what they are.
func parseEach(n *yamlfile.Node, what string, read func(string) (string, bool)) ([]string, error) {
	var all []string
	for _, item := range n.Each() {
		s, err := item.Str()
		if err != nil {
			return nil, err
		}
		v, ok := read(s)
		if !ok {
			return nil, item.Errorf("%q in %s is not %s", clip(s), n.Path, what)
		}
		all = append(all, v)
	}
	return all, nil
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
	bad := strings.ContainsFunc(s, func(c rune) bool {
		return !strings.ContainsRune("!#$%&'*+-.^_`|~", c) && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
	})
	return s, s != "" && !bad
}
