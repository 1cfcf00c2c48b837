package exec

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly"
)

// variables returns a call's RFC 3875 variables and Mayfly's. Clients choose names only
// after HTTP_ and MAYFLY_PARAM_.
func variables(ctx context.Context, c *mayfly.Call) []string {
	path, err := url.PathUnescape(cmp.Or(c.Path, "/"))
	if err != nil {
		path = c.Path
	}
	host, port, err := net.SplitHostPort(c.Host)
	if err != nil {
		host, port = c.Host, ""
	}
	env := []string{
		"GATEWAY_INTERFACE=CGI/1.1",
		"SERVER_SOFTWARE=mayfly",
		"SERVER_PROTOCOL=HTTP/1.1",
		"SERVER_NAME=" + cmp.Or(strings.Trim(host, "[]"), "localhost"),
		"SERVER_PORT=" + cmp.Or(port, "80"),
		"REQUEST_METHOD=" + cmp.Or(c.Method, http.MethodPost),
		"SCRIPT_NAME=" + c.Header.Get("X-Forwarded-Prefix"),
		"PATH_INFO=" + path,
		"QUERY_STRING=" + c.Query,
		mayfly.EnvCall + "=" + c.ID,
	}
	if host, port, err := net.SplitHostPort(c.Remote); err == nil {
		env = append(env, "REMOTE_ADDR="+host, "REMOTE_PORT="+port)
	}
	if c.Host != "" {
		env = append(env, "HTTP_HOST="+c.Host)
	}
	if kind := c.Header.Get("Content-Type"); kind != "" {
		env = append(env, "CONTENT_TYPE="+kind)
	}
	// A stream of unknown length has no CONTENT_LENGTH: programs read to its end.
	switch {
	case c.Stream == nil:
		env = append(env, "CONTENT_LENGTH="+strconv.Itoa(len(c.Body)))
	case c.Length >= 0:
		env = append(env, "CONTENT_LENGTH="+strconv.FormatInt(c.Length, 10))
	}
	if deadline, ok := ctx.Deadline(); ok || !c.Deadline.IsZero() {
		if !ok || !c.Deadline.IsZero() && c.Deadline.Before(deadline) {
			deadline = c.Deadline
		}
		env = append(env, mayfly.EnvDeadline+"="+strconv.FormatInt(deadline.UnixMilli(), 10))
	}
	for name, values := range c.Header {
		if v, ok := variable(name); ok {
			separator := ", "
			if v == "HTTP_COOKIE" {
				separator = "; "
			}
			env = append(env, v+"="+strings.Join(values, separator))
		}
	}
	return env
}

// variable returns the variable name of a header. Some headers get none: those that are
// not forwarded or have a variable already, those whose underscore would make them
// look like others, and Proxy, since programs use HTTP_PROXY for their own requests.
func variable(header string) (name string, ok bool) {
	name = http.CanonicalHeaderKey(header)
	switch {
	case name == "", name == "Proxy", name == "Host", name == "Content-Type", mayfly.IsHopByHop(name):
		return "", false
	}
	name = strings.ToUpper(name)
	for i := range len(name) {
		if b := name[i]; b != '-' && (b < 'A' || b > 'Z') && (b < '0' || b > '9') {
			return "", false
		}
	}
	name = strings.ReplaceAll(name, "-", "_")
	if mayfly.IsParam(header) {
		return name, true // begins with mayfly.EnvParam
	}
	return "HTTP_" + name, !mayfly.IsReserved(header)
}
