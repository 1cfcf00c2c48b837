package front

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

// net/http waits half a second before it closes on a client that may still send.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// server is what front.Server and http.Server have in common.
type server interface {
	Serve(net.Listener) error
	Close() error
}

// serve starts s and returns its address. It ends with the test.
func serve(t testing.TB, s server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-served; err != http.ErrServerClosed {
			t.Errorf("Serve = %v", err)
		}
	})
	return l.Addr().String()
}

// quiet discards a server's log.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

func newServer(h http.HandlerFunc) *Server { return &Server{Handler: h, ErrorLog: quiet()} }

// dial connects to addr. A hang fails the test.
func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

// A witness is a handler that records its requests, and answers according to the path.
type witness struct {
	mu   sync.Mutex
	seen []string
}

func (h *witness) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s %s %d %d host=%s length=%d close=%v encoding=%q trailer=%v tls=%v\n", r.Method, r.RequestURI, r.Proto, r.ProtoMajor, r.ProtoMinor, r.Host, r.ContentLength, r.Close, r.TransferEncoding, r.Trailer, r.TLS != nil)
	fmt.Fprintf(&b, "url=%#v\nnobody=%v\n", *r.URL, r.Body == http.NoBody)
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range r.Header {
			if !yield(name) {
				return
			}
		}
	}) {
		fmt.Fprintf(&b, "%s=%q\n", name, r.Header[name])
	}
	if r.URL.Path != "/unread" {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(&b, "body=%q %v\n", body, err)
	}
	h.mu.Lock()
	h.seen = append(h.seen, b.String())
	h.mu.Unlock()
	answer(w, r)
}

// answer answers in one of many ways.
func answer(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/nothing":
	case "/length":
		w.Header().Set("Content-Length", "5")
		io.WriteString(w, "hello")
	case "/short":
		w.Header().Set("Content-Length", "50")
		io.WriteString(w, "hello")
	case "/long":
		w.Header().Set("Content-Length", "2")
		io.WriteString(w, "hello")
	case "/held":
		io.WriteString(w, strings.Repeat("x", mostHeld-1))
		io.WriteString(w, "y")
	case "/chunked":
		for range 3 {
			io.WriteString(w, strings.Repeat("x", mostHeld))
		}
	case "/large":
		w.Header()["Content-Length"] = []string{"100000"}
		io.WriteString(w, strings.Repeat("z", 100000))
	case "/flushed":
		w.(http.Flusher).Flush()
		io.WriteString(w, "hello")
	case "/204":
		w.Header().Set("Content-Length", "5")
		w.WriteHeader(204)
		if _, err := io.WriteString(w, "hello"); err != http.ErrBodyNotAllowed {
			panic(err)
		}
	case "/304":
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Etag", `"1"`)
		w.WriteHeader(304)
	case "/599":
		w.WriteHeader(599)
	case "/early":
		w.Header().Set("Link", "</a.css>")
		w.WriteHeader(103)
		io.WriteString(w, "hello")
	case "/close":
		w.Header().Set("Connection", "close")
		io.WriteString(w, "hello")
	case "/headers":
		w.Header()["X-Many"] = []string{"a", " b ", "c\r\nd"}
		w.Header()["bad name"] = []string{"x"}
		w.Header()["Date"] = []string{"today"}
		w.Header()["Content-Type"] = nil
		w.Header().Set("Content-Encoding", "")
		io.WriteString(w, "<html>")
	case "/later":
		w.WriteHeader(201)
		w.Header().Set("X-Late", "x")
		io.WriteString(w, "<html>")
	case "/twice":
		w.WriteHeader(202)
		w.WriteHeader(203)
	case "/abort":
		io.WriteString(w, "half")
		panic(http.ErrAbortHandler)
	case "/panic":
		panic("on purpose")
	default:
		fmt.Fprintf(w, "%s %s", r.Method, r.URL.Path)
	}
}

// exchange sends input on one connection and returns what the handler saw and the
// answers, without what may differ: Date and the order of headers.
func exchange(t testing.TB, addr string, h *witness, input string) (seen []string, answers []string) {
	t.Helper()
	h.mu.Lock()
	h.seen = nil
	h.mu.Unlock()
	c := dial(t, addr)
	defer c.Close()
	go func() {
		io.WriteString(c, input) // the server may stop reading early
		c.(*net.TCPConn).CloseWrite()
	}()
	raw, _ := io.ReadAll(c) // a reset is fine
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seen, parse(raw)
}

// parse splits raw into answers, each with sorted headers and its body, chunks joined.
func parse(raw []byte) (answers []string) {
	for len(raw) > 0 {
		head, rest, ok := bytes.Cut(raw, []byte("\r\n\r\n"))
		if !ok {
			return append(answers, fmt.Sprintf("cut: %q", raw))
		}
		lines := strings.Split(string(head), "\r\n")
		first, fields := lines[0], lines[1:]
		fields = slices.DeleteFunc(fields, func(f string) bool { return strings.HasPrefix(f, "Date: ") && f != "Date: today" })
		slices.Sort(fields)
		body := rest
		length := 0
		switch {
		case slices.Contains(fields, "Transfer-Encoding: chunked"):
			reader := bufio.NewReaderSize(bytes.NewReader(rest), len(rest))
			joined, err := io.ReadAll(httputil.NewChunkedReader(reader))
			answers = append(answers, fmt.Sprintf("%s\n%q\n%q %v", first, fields, joined, err))
			reader.Discard(len("\r\n"))
			raw, _ = io.ReadAll(reader)
			continue
		default:
			for _, f := range fields {
				fmt.Sscanf(f, "Content-Length: %d", &length)
			}
			if strings.Contains(first, " 400 ") && length == 0 {
				length = len(rest) // net/http's own error ends with the connection
			}
		}
		body = rest[:min(length, len(rest))]
		if bytes.HasPrefix(rest, []byte("HTTP/1.1 ")) {
			body = nil // of HEAD
		}
		raw = rest[len(body):]
		answers = append(answers, fmt.Sprintf("%s\n%q\n%q of %d", first, fields, body, length))
	}
	return answers
}

// A pair is front and plain net/http with the same handler.
type pair struct {
	front, plain         string // addresses
	frontSees, plainSees *witness
}

func newPair(t testing.TB) *pair {
	p := &pair{frontSees: &witness{}, plainSees: &witness{}}
	p.front = serve(t, &Server{Handler: p.frontSees, ErrorLog: quiet(), ReadHeaderTimeout: 10 * time.Second, WriteTimeout: time.Minute, IdleTimeout: time.Minute})
	p.plain = serve(t, &http.Server{Handler: p.plainSees, ErrorLog: quiet(), ReadHeaderTimeout: 10 * time.Second, WriteTimeout: time.Minute, IdleTimeout: time.Minute, DisableGeneralOptionsHandler: true})
	return p
}

// compare fails if the two differ.
func (p *pair) compare(t *testing.T, input string) {
	t.Helper()
	var f framing
	if f.see([]byte(input)); f.both.Load() {
		return // only front closes then: TestTwoFramingsEndTheConnection
	}
	seenWant, answersWant := exchange(t, p.plain, p.plainSees, input)
	seen, answers := exchange(t, p.front, p.frontSees, input)
	if n := len(answers); n > 0 && strings.Contains(strings.Join(seen, ""), "unexpected EOF") {
		// Front announces that the connection ends; net/http just ends it.
		answers[n-1] = strings.Replace(answers[n-1], `"Connection: close" `, "", 1)
		answersWant[len(answersWant)-1] = strings.Replace(answersWant[len(answersWant)-1], `"Connection: close" `, "", 1)
	}
	if diff := cmp.Diff(seenWant, seen); diff != "" {
		t.Errorf("%.200q: the handler sees (-net/http +front):\n%s", input, diff)
	}
	if diff := cmp.Diff(answersWant, answers); diff != "" {
		t.Errorf("%.200q: the client gets (-net/http +front):\n%s", input, diff)
	}
}

// ask is a request without a body.
func ask(line string, headers ...string) string {
	var b strings.Builder
	for _, l := range append([]string{line + " HTTP/1.1", "Host: localhost"}, headers...) {
		b.WriteString(l + "\r\n")
	}
	return b.String() + "\r\n"
}

// post is a request with a body.
func post(path, body string, headers ...string) string {
	return ask("POST "+path, append(headers, fmt.Sprintf("Content-Length: %d", len(body)))...) + body
}

// inputs are what clients send, benign or not.
var inputs = map[string]string{
	"plain":                   ask("GET /"),
	"many headers":            ask("GET /a/b?c=d&e", "User-Agent: x", "accept: */*", "ACCEPT-ENCODING: gzip", "X-Two: 1", "x-two: 2", "Cookie: a=b; c=d"),
	"empty and spaced values": ask("GET /", "X-Empty:", "X-Blank: \t ", "X-Spaced:   a b\t"),
	"each method":             ask("GET /1") + ask("PUT /2") + ask("DELETE /3") + ask("PATCH /4") + ask("HEAD /5") + ask("OPTIONS /6") + post("/7", "x"),
	"odd method":              ask("PURGE /x"),
	"lower-case method":       ask("get /x"),
	"no method":               " / HTTP/1.1\r\nHost: x\r\n\r\n",
	"CONNECT":                 "CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n",
	"body":                    post("/body", "hello"),
	"empty body":              post("/body", ""),
	"body of GET":             ask("GET /body", "Content-Length: 5") + "hello",
	"long body":               post("/body", strings.Repeat("b", 10000)),
	"cut body":                ask("POST /body", "Content-Length: 50") + "hello",
	"pipelined":               post("/1", "one") + ask("GET /2") + post("/3", "three") + ask("GET /large") + ask("GET /4"),
	"line feeds after a body": post("/1", "one") + "\r\n\r\n" + ask("GET /2"),
	"line feeds after none":   ask("GET /1") + "\r\n" + ask("GET /2"),
	"line feeds at first":     "\r\n" + ask("GET /1"),
	"many line feeds":         post("/1", "one") + "\r\n\r\n\r\n" + ask("GET /2"),
	"bare line feeds":         "GET /x HTTP/1.1\nHost: x\n\n",
	"a bare line feed":        "GET /x HTTP/1.1\r\nHost: x\nA: b\r\n\r\n",
	"a bare return":           ask("GET /x", "A: b\rc"),
	"NUL in a value":          ask("GET /x", "A: b\x00c"),
	"obs-text":                ask("GET /x", "A: \xe9"),
	"obs-fold":                ask("GET /x", "A: b", " c"),
	"fold of the first":       "GET /x HTTP/1.1\r\n Host: x\r\n\r\n",
	"space before colon":      ask("GET /x", "A : b"),
	"no colon":                ask("GET /x", "A"),
	"empty name":              ask("GET /x", ": b"),
	"odd name":                ask("GET /x", "A(b): c"),
	"name of UTF-8":           ask("GET /x", "\xc3\xa9: c"),
	"no host":                 "GET /x HTTP/1.1\r\nA: b\r\n\r\n",
	"two hosts":               ask("GET /x", "Host: other"),
	"empty host":              "GET /x HTTP/1.1\r\nHost:\r\n\r\n",
	"odd host":                "GET /x HTTP/1.1\r\nHost: a b\r\n\r\n",
	"host with a user":        "GET /x HTTP/1.1\r\nHost: a@b\r\n\r\n",
	"host of IPv6":            "GET /x HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
	"host in lower case":      "GET /x HTTP/1.1\r\nhost: x\r\n\r\n",
	"absolute form":           ask("GET http://other/x"),
	"asterisk":                ask("OPTIONS *"),
	"two slashes":             ask("GET //x/y"),
	"escapes":                 ask("GET /a%2Fb/%41?x=%zz"),
	"bad escape":              ask("GET /%zz"),
	"odd bytes in a path":     ask("GET /[]{}|\\^`\"<>'!()*;,@:&=+$~"),
	"fragment":                ask("GET /x#y"),
	"question mark":           ask("GET /x?"),
	"question marks":          ask("GET /x??y"),
	"UTF-8 in a path":         ask("GET /\xc3\xa9"),
	"a path with a space":     ask("GET /x y"),
	"two spaces":              "GET  /x HTTP/1.1\r\nHost: x\r\n\r\n",
	"no target":               "GET  HTTP/1.1\r\nHost: x\r\n\r\n",
	"HTTP/1.0":                "GET /x HTTP/1.0\r\nHost: x\r\n\r\n",
	"HTTP/1.0 kept":           "GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + ask("GET /y"),
	"HTTP/0.9":                "GET /x\r\n",
	"HTTP/1.2":                "GET /x HTTP/1.2\r\nHost: x\r\n\r\n",
	"HTTP/2 preface":          "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"TLS":                     "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
	"nothing":                 "",
	"little":                  "GE",
	"half a line":             "GET /x HT",
	"half a head":             "GET /x HTTP/1.1\r\nHost: x\r\n",
	"hardly any of a second":  ask("GET /1") + "0",
	"half a second":           ask("GET /1") + "GE",
	"more of a second":        ask("GET /1") + "GET /2 HTTP/1.1\r\nHo",
	"chunked":                 ask("POST /x", "Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n" + ask("GET /y"),
	"chunked with a trailer":  ask("POST /x", "Transfer-Encoding: chunked", "Trailer: T") + "5\r\nhello\r\n0\r\nT: v\r\n\r\n" + ask("GET /y"),
	"odd encoding":            ask("POST /x", "Transfer-Encoding: gzip"),
	"two lengths":             ask("POST /x", "Content-Length: 5", "Content-Length: 6") + "hello!",
	"the same length twice":   ask("POST /x", "Content-Length: 5", "Content-Length: 5") + "hello",
	"signed length":           ask("POST /x", "Content-Length: +5") + "hello",
	"negative length":         ask("POST /x", "Content-Length: -5") + "hello",
	"empty length":            ask("POST /x", "Content-Length:") + "hello",
	"list of lengths":         ask("POST /x", "Content-Length: 5, 5") + "hello",
	"length with zeros":       ask("POST /x", "Content-Length: 0005") + "hello" + ask("GET /y"),
	"huge length":             ask("POST /unread", "Content-Length: 9223372036854775808"),
	"most length":             ask("POST /unread", "Content-Length: 9223372036854775807"),
	"expect":                  ask("POST /x", "Expect: 100-continue", "Content-Length: 5") + "hello",
	"expect something else":   ask("POST /x", "Expect: money", "Content-Length: 5") + "hello",
	"upgrade":                 ask("GET /x", "Connection: Upgrade", "Upgrade: websocket"),
	"pragma":                  ask("GET /x", "Pragma: no-cache"),
	"close":                   ask("GET /x", "Connection: close") + ask("GET /y"),
	"Close":                   ask("GET /x", "Connection: Close") + ask("GET /y"),
	"keep-alive":              ask("GET /x", "Connection: Keep-Alive") + ask("GET /y"),
	"close among others":      ask("GET /x", "Connection: TE, close", "TE: trailers") + ask("GET /y"),
	"two connections":         ask("GET /x", "Connection: keep-alive", "Connection: close") + ask("GET /y"),
	"after an odd one":        ask("GET /1") + "GET /2 HTTP/1.1\nHost: x\n\n" + ask("GET /3"),
	"large head":              ask("GET /x", "Cookie: "+strings.Repeat("c", 6000)) + ask("GET /y"),
	"too many headers":        ask("GET /x", strings.Split(strings.TrimSuffix(strings.Repeat("A: b\n", 100), "\n"), "\n")...),
	"unread body":             post("/unread", strings.Repeat("u", 1000)) + ask("GET /y"),
	"unread long body":        post("/unread", strings.Repeat("u", 200<<10)) + ask("GET /y"),
	"answers": ask("GET /nothing") + ask("GET /length") + ask("GET /held") + ask("GET /chunked") + ask("GET /flushed") + ask("GET /204") + ask("GET /304") +
		ask("GET /599") + ask("GET /headers") + ask("GET /later") + ask("GET /twice") + ask("GET /early") + ask("GET /large"),
	"answers to HEAD": ask("HEAD /nothing") + ask("HEAD /length") + ask("HEAD /held") + ask("HEAD /chunked") + ask("HEAD /flushed") + ask("HEAD /204") +
		ask("HEAD /304") + ask("HEAD /short") + ask("HEAD /later") + ask("HEAD /large"),
	"short answer": ask("GET /short") + ask("GET /y"),
	"long answer":  ask("GET /long") + ask("GET /y"),
	"closing":      ask("GET /close") + ask("GET /y"),
	"aborted":      ask("GET /abort") + ask("GET /y"),
	"panicked":     ask("GET /panic") + ask("GET /y"),
}

func TestFrontAndPlainAreAlike(t *testing.T) {
	t.Parallel()
	for name, input := range inputs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			newPair(t).compare(t, input)
		})
	}
}

func FuzzFrontAndPlainAreAlike(f *testing.F) {
	for _, input := range inputs {
		f.Add(input)
	}
	p := newPair(f)
	f.Fuzz(func(t *testing.T, input string) { p.compare(t, input) })
}
