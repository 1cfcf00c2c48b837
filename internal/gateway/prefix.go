package gateway

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// belowPrefix moves the redirects and cookies of a function that was reached below
// /fn/<name> to there: the function does not see that part of its paths, so it names them
// without. One that knows the prefix, by X-Forwarded-Prefix, is left alone, and so is a
// redirect to what the gateway has outside of it.
func (g *Gateway) belowPrefix(x *exchange, r *http.Request) {
	if x.prefix == "" {
		return
	}
	h := x.Header()
	if to := h["Location"]; len(to) > 0 {
		at := 0 // where the path starts
		for _, scheme := range []string{"http://", "https://"} {
			if strings.HasPrefix(to[0], scheme+r.Host+"/") {
				at = len(scheme) + len(r.Host)
			}
		}
		if !g.serves(r, to[0][at:]) {
			h["Location"] = append([]string{to[0][:at] + below(x.prefix, to[0][at:])}, to[1:]...) // the reply's own stay
		}
	}
	cookies := slices.Clone(h["Set-Cookie"])
	for i, cookie := range cookies {
		if strings.HasPrefix(cookie, "__Host-") {
			continue // only valid for /
		}
		parts := strings.Split(cookie, ";")
		for j, part := range parts[1:] {
			name, path, _ := strings.Cut(part, "=")
			if strings.EqualFold(strings.TrimSpace(name), "Path") {
				path = below(x.prefix, strings.TrimSpace(path))
				if path == x.prefix+"/" {
					path = x.prefix // also for the path without the slash
				}
				parts[j+1] = name + "=" + path
			}
		}
		cookies[i] = strings.Join(parts, ";")
	}
	if cookies != nil {
		h["Set-Cookie"] = cookies
	}
}

// serves reports whether a redirect to a path leads to a path of the gateway's own, a mount
// or a route. A route for every path, such as that of a site at /, does not count: it would
// take the function's paths too.
func (g *Gateway) serves(r *http.Request, path string) bool {
	u, err := url.Parse(path)
	if err != nil || u.Host != "" || !strings.HasPrefix(u.Path, "/") {
		return false
	}
	first, _, deeper := strings.Cut(u.Path[1:], "/")
	if own, ok := g.own[first]; ok {
		return (own.kind != kindNone || own.mount != nil) && !(own.exact && deeper)
	}
	for _, method := range []string{http.MethodGet, r.Method} { // 307 and 308 keep the method
		e, err := g.table.Load().match(&http.Request{Method: method, Host: r.Host, URL: u})
		if err == nil && first != "" && e.Pattern.First() == first {
			return true
		}
	}
	return false
}

// below returns path below prefix, unless it names a path of the gateway's or is none.
func below(prefix, path string) string {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") {
		return path
	}
	first, _, _ := strings.Cut(path[1:], "/")
	if slices.Contains([]string{"fn", "function", "svc"}, first) {
		return path
	}
	return prefix + path
}
