package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
)

// parseNumber reads a whole number above 0 from a request's payload: 3, or
// {"<key>":3}.
func parseNumber(payload []byte, key string) (int64, error) {
	text := bytes.TrimSpace(payload)
	if bytes.HasPrefix(text, []byte("{")) {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(text, &object); err != nil {
			return 0, faultf(http.StatusBadRequest, "the request is not JSON: send 3 or {%q:3}", key)
		}
		text = object[key]
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	switch {
	case len(text) == 0:
		return 0, faultf(http.StatusBadRequest, "the request has no number: send 3 or {%q:3}", key)
	case err != nil || text[0] == '+':
		return 0, faultf(http.StatusBadRequest, "%.40q is not a whole number: send 3 or {%q:3}", text, key)
	case n < 1:
		return 0, faultf(http.StatusBadRequest, "%d is less than 1", n)
	}
	return n, nil
}
