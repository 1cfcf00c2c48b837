package mayfly

import "strings"

// The rules for headers that are not forwarded, shared by all doors and engines.
// IsHopByHop takes a canonical name; the others ignore case, since a name in a NATS
// message that is not an HTTP token has no canonical form.

// IsHopByHop reports whether a header belongs to one connection (RFC 9110, section
// 7.6.1) or frames one message, which each side does itself.
func IsHopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings", "Content-Length", "Expect":
		return true
	}
	return false
}

// IsReserved reports whether a header has a meaning to NATS or Mayfly, so that no
// client, service or function may set it. Nats-Trace-Dest alone would let a client
// publish anywhere, and an empty reply with "Status: 503" reads as no responders.
func IsReserved(name string) bool {
	if name == "" {
		return false
	}
	switch name[0] | 0x20 { // the first letter rules out most names
	case 'n':
		return hasPrefixFold(name, "Nats-")
	case 'm':
		return hasPrefixFold(name, "Mayfly-")
	case 's':
		return strings.EqualFold(name, "Status")
	case 'd':
		return strings.EqualFold(name, "Description")
	case 'k':
		return strings.EqualFold(name, "KV-Operation")
	}
	return false
}

// IsParam reports whether a header holds a value from the path, Mayfly-Param-*: the
// only reserved headers that reach a function as headers.
func IsParam(name string) bool {
	return len(name) > len(HeaderParamPrefix) && hasPrefixFold(name, HeaderParamPrefix)
}

// IsForwarded reports whether a proxy sets a header to describe the client.
func IsForwarded(name string) bool {
	if name == "" {
		return false
	}
	switch name[0] | 0x20 {
	case 'x':
		return hasPrefixFold(name, "X-Forwarded-")
	case 'f':
		return strings.EqualFold(name, "Forwarded")
	}
	return false
}

func hasPrefixFold(name, prefix string) bool {
	return len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix)
}
