package static

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"

	"github.com/mayfly-run/mayfly"
)

// short is how long a body is held at most; a longer one is streamed.
const short = 64 << 10

// A response is an http.ResponseWriter that keeps the reader of a body instead of
// copying it.
type response struct {
	status int // the first that is set counts
	header http.Header
	text   bytes.Buffer
	body   io.Reader
}

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// Write implements http.ResponseWriter.
func (w *response) Write(p []byte) (int, error) { return w.text.Write(p) }

// ReadFrom implements io.ReaderFrom: it takes what http.ServeContent copies.
func (w *response) ReadFrom(body io.Reader) (int64, error) {
	w.body = body
	return 0, nil
}

// redirect adds the slash that a folder's path lacks. Nothing before its last segment
// is named: that may differ for the client.
func (w *response) redirect(last, query string) {
	to := url.URL{Path: last + "/", RawQuery: query}
	w.header.Set("Location", to.String())
	w.WriteHeader(http.StatusTemporaryRedirect)
}

// reply returns the response as a reply, which closes the file if there is one.
func (w *response) reply(file *os.File) (mayfly.Reply, error) {
	r := mayfly.Reply{Status: w.status, Header: w.header, Body: w.text.Bytes()}
	length, _ := strconv.ParseInt(w.header.Get("Content-Length"), 10, 64)
	if w.body != nil && length > short {
		r.Body, r.Length = nil, length
		r.Stream = struct {
			io.Reader
			io.Closer
		}{w.body, file}
		return r, nil
	}
	if file == nil {
		return r, nil
	}
	defer file.Close()
	if w.body == nil {
		return r, nil
	}
	var err error
	if r.Body, err = io.ReadAll(w.body); err != nil {
		return mayfly.Reply{}, mayfly.Errorf(mayfly.Internal, "read a file: %w", err)
	}
	return r, nil
}
