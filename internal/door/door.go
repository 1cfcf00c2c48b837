// Package door is what a node's HTTP doors share: how they listen, their URL, and to which
// host names they answer.
//
// A door on loopback only answers to names of this machine. Otherwise a web page could
// point its own host name to 127.0.0.1 (DNS rebinding) and make the visitor's browser
// talk to the door.
//
// It serves nothing itself: gateway and console do.
package door

import (
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/mayfly-run/mayfly"
)

// Listen listens on addr, the value of the configuration's key. Errors: Conflict if the
// address is in use, Invalid if it is unavailable for another reason.
func Listen(key, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, mayfly.Errorf(mayfly.Conflict, "%s (%s) is in use by another program", addr, key).
			WithHint("choose another address with --%s", key)
	}
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "cannot listen on %s (%s): %w", addr, key, err).
			WithHint("set --%s to a host:port of this machine", key)
	}
	return l, nil
}

// URL returns where clients on this machine reach what serves on l, a listener of Listen.
func URL(l net.Listener, https bool) string {
	scheme := "http"
	if https {
		scheme = "https"
	}
	addr := l.Addr().(*net.TCPAddr)
	host := "localhost"
	if !addr.IP.IsLoopback() && !addr.IP.IsUnspecified() {
		host = addr.IP.String()
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(addr.Port))
}

// Loopback reports whether only this machine can reach a listener.
func Loopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// Own reports whether a request's Host is a name of this machine, or one of more. HTTP/1.0
// allows no Host, as in many health checks; browsers always send one.
func Own(r *http.Request, more []string) bool {
	host := r.Host
	if host == "" && !r.ProtoAtLeast(1, 1) {
		return true
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host == "localhost" || host == "127.0.0.1" { // nearly always
		return true
	}
	host = strings.Trim(host, "[]")
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		return true
	}
	return strings.EqualFold(host, "localhost") ||
		slices.ContainsFunc(more, func(name string) bool { return strings.EqualFold(name, host) })
}
