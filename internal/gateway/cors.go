package gateway

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
)

// allowOrigin lets a web page of another origin read the answer if the route allows
// it (the CORS protocol of the Fetch standard), and reports whether it does.
func (g *Gateway) allowOrigin(x *exchange, r *http.Request, c *mayfly.CORS) bool {
	if c == nil {
		return false
	}
	h := x.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if !originAllowed(c, origin) {
		return false
	}
	if slices.Contains(c.Origins, "*") {
		origin = "*"
	}
	h.Set("Access-Control-Allow-Origin", origin)
	if c.Credentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	expose := append([]string{mayfly.HeaderCallID, mayfly.HeaderTiming}, c.Expose...)
	h.Set("Access-Control-Expose-Headers", strings.Join(expose, ", "))
	return true
}

func originAllowed(c *mayfly.CORS, origin string) bool {
	return origin != "" && (slices.Contains(c.Origins, "*") || slices.Contains(c.Origins, origin))
}

// servePreflight answers a browser's preflight request for the route. An origin that
// is not allowed gets no CORS headers, which the browser takes for no.
func (g *Gateway) servePreflight(x *exchange, r *http.Request) error {
	e := x.destination.entry
	h := x.Header()
	if g.allowOrigin(x, r, e.CORS) {
		h.Del("Access-Control-Expose-Headers")
		h.Set("Access-Control-Allow-Methods", strings.Join(corsMethods(e), ", "))
		headers := e.CORS.Headers
		if len(headers) == 0 {
			headers = []string{"Content-Type"}
		}
		h.Set("Access-Control-Allow-Headers", strings.Join(headers, ", "))
		if e.CORS.MaxAge > 0 {
			h.Set("Access-Control-Max-Age", strconv.Itoa(int(time.Duration(e.CORS.MaxAge)/time.Second)))
		}
	}
	g.begin(x, http.StatusNoContent)
	return nil
}

// corsMethods are those that a web page of an allowed origin may use.
func corsMethods(e *entry) []string {
	switch {
	case len(e.CORS.Methods) > 0:
		return e.CORS.Methods
	case e.Pattern.Method == "":
		return []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	case e.Pattern.Method == http.MethodGet:
		return []string{http.MethodGet, http.MethodHead}
	default:
		return []string{e.Pattern.Method}
	}
}
