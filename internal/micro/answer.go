package micro

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly"
)

// parseInfo reads an INFO answer, keeps what can be used and says why if nothing
// can.
func parseInfo(data []byte) (mayfly.Service, string) {
	// Strings only in metadata: some clients send numbers, which name no route.
	var info struct {
		mayfly.Service
		Metadata  Metadata `json:"metadata"`
		Endpoints []struct {
			mayfly.Endpoint
			Metadata Metadata `json:"metadata"`
		} `json:"endpoints"`
	}
	if err := json.Unmarshal(data, &info); err != nil {
		return mayfly.Service{}, "not JSON of the right types"
	}
	s := info.Service
	if !validText(s.Name) || !validText(s.ID) {
		return mayfly.Service{}, "bad name or id"
	}
	s.Started = time.Time{} // not INFO's to tell
	if len(s.Version) > maxText || strings.ContainsFunc(s.Version, unicode.IsControl) {
		s.Version = ""
	}
	s.Description = plain(s.Description)
	s.Metadata = info.Metadata
	s.Endpoints = nil
	for _, e := range info.Endpoints[:min(len(info.Endpoints), maxEndpoints)] {
		if _, err := mayfly.ParseSubjectPattern(e.Subject); err != nil || !validText(e.Name) {
			continue
		}
		e.Endpoint.Metadata = e.Metadata
		s.Endpoints = append(s.Endpoints, e.Endpoint)
	}
	return s, ""
}

// Metadata is that of a service or endpoint as it came over the wire: values that
// are no strings, which some clients send, are skipped.
type Metadata map[string]string

// UnmarshalJSON implements json.Unmarshaler.
func (m *Metadata) UnmarshalJSON(data []byte) error {
	var raw map[string]json.RawMessage
	if json.Unmarshal(data, &raw) != nil {
		return nil // not an object: no metadata
	}
	*m = make(Metadata, len(raw))
	for k, v := range raw {
		var s string
		if bytes.HasPrefix(v, []byte{'"'}) && json.Unmarshal(v, &s) == nil {
			(*m)[k] = s
		}
	}
	return nil
}

// validText reports whether s may stand as one token of a subject that we ask, and
// be shown to people.
func validText(s string) bool {
	return s != "" && len(s) <= maxText && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsPrint(r) || strings.ContainsRune(" .*>", r)
	})
}

// plain returns s as one line without control characters, which would be
// commands to a terminal.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}
