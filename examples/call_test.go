package examples_test

import (
	"io"
	"net/http"
)

// client keeps no connections, so that none outlives a test.
var client = http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}

// call makes a request of the gateway and returns the answer, which must be a good one.
func (n *node) call(method, path string, body io.Reader) (string, http.Header) {
	n.t.Helper()
	r, err := http.NewRequestWithContext(n.t.Context(), method, n.url+path, body)
	if err != nil {
		n.t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		n.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	if answer.StatusCode/100 != 2 {
		n.t.Fatalf("%s %s is %s: %s\n%s", method, path, answer.Status, text, n.output())
	}
	return string(text), answer.Header
}
