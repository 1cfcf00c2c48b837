package instance

import (
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
)

// headerRemote holds the address of the client.
const headerRemote = "Mayfly-Remote"

// newRequest reads the head of a request. An error means that no node sends this.
func newRequest(c *call, text string) (*http.Request, error) {
	line, text, _ := strings.Cut(text, "\n")
	method, target, ok := strings.Cut(line, " ")
	if !ok || method == "" || target == "" {
		return nil, fmt.Errorf("call %d begins with %.100q", c.id, line)
	}
	if err := readTarget(&c.url, target); err != nil {
		return nil, fmt.Errorf("call %d: %w", c.id, err)
	}
	r := http.Request{Method: method, URL: &c.url, RequestURI: target, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: -1}
	if err := readHeader(&r, text); err != nil {
		return nil, fmt.Errorf("call %d: %w", c.id, err)
	}
	return r.WithContext(c), nil
}

// readHeader reads the lines of a header. They are cut from one string, and all values share
// one array.
func readHeader(r *http.Request, text string) error {
	n := strings.Count(text, "\n")
	values := make([]string, n)
	r.Header = make(http.Header, n)
	for ; n > 0; n-- {
		end := strings.IndexByte(text, '\n')
		colon := strings.IndexByte(text[:end], ':')
		if colon < 1 {
			return fmt.Errorf("its header has the line %.100q", text[:end])
		}
		name, value := textproto.CanonicalMIMEHeaderKey(text[:colon]), text[colon+1:end]
		text = text[end+1:]
		switch name {
		case "Host":
			r.Host = value
			continue
		case "Content-Length":
			length, err := strconv.ParseInt(value, 10, 64)
			if err != nil || length < 0 {
				return fmt.Errorf("its Content-Length is %.100q", value)
			}
			r.ContentLength = length
		case headerRemote:
			r.RemoteAddr = value
		}
		if before := r.Header[name]; before != nil {
			r.Header[name] = append(before, value)
			continue
		}
		values[n-1] = value
		r.Header[name] = values[n-1 : n : n]
	}
	if text != "" {
		return fmt.Errorf("its header ends with %.100q", text)
	}
	return nil
}

// readTarget is url.ParseRequestURI. It is quick about targets without escapes.
func readTarget(u *url.URL, target string) error {
	path, query, asked := strings.Cut(target, "?")
	if isPlain(path) && isVisible(query) && asked == (query != "") {
		u.Path, u.RawQuery = path, query
		return nil
	}
	parsed, err := url.ParseRequestURI(target)
	if err == nil {
		*u = *parsed
	}
	return err
}

// isPlain reports whether a path is the same with and without escapes.
func isPlain(path string) bool {
	for i := 0; i < len(path); i++ {
		if !plain[path[i]] {
			return false
		}
	}
	return path != "" && path[0] == '/'
}

func isVisible(query string) bool {
	for i := 0; i < len(query); i++ {
		if query[i] <= ' ' || query[i] >= 0x7f {
			return false
		}
	}
	return true
}

// plain are the bytes that a URL's path holds as they are.
var plain = func() (is [256]bool) {
	for _, c := range []byte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~$&+,/:;=@") {
		is[c] = true
	}
	return is
}()
