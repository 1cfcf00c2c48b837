package micro

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
)

// The questions that every micro service answers.
const (
	ping  = "PING"
	info  = "INFO"
	stats = "STATS"
)

// Bounds on what an answer can make us store.
const (
	maxEndpoints = 1_000   // of one instance
	maxName      = 64      // bytes of a service's, endpoint's or version's name
	maxText      = 4 << 10 // bytes of a description or an error
)

const badJSON = "not JSON of the right types"

// subject returns where to ask a question: of all services, of those with a name, or of
// the instance with a name and an id.
func subject(verb string, who ...string) string {
	return strings.Join(append([]string{mayfly.SubjectMicro, verb}, who...), ".")
}

// Subjects returns where to ask each question: of all services, of those with a name, or
// of the instance with a name and an id.
func Subjects(who ...string) []string {
	return []string{subject(ping, who...), subject(info, who...), subject(stats, who...)}
}

// ParseSubject reverses Subjects.
func ParseSubject(subject string) (verb string, who []string) {
	tokens := strings.Split(strings.TrimPrefix(subject, mayfly.SubjectMicro+"."), ".")
	return tokens[0], tokens[1:]
}

// An Identity is the beginning of every answer.
type Identity struct {
	Type     string   `json:"type"`
	Name     string   `json:"name"`
	ID       string   `json:"id"`
	Version  string   `json:"version"`
	Metadata Metadata `json:"metadata"`
}

// Statistics are one instance's answer to STATS.
type Statistics struct {
	Identity
	Started   time.Time            `json:"started"`
	Endpoints []EndpointStatistics `json:"endpoints"`
}

// EndpointStatistics are those of one endpoint.
type EndpointStatistics struct {
	Name      string        `json:"name"`
	Subject   string        `json:"subject"`
	Queue     string        `json:"queue_group"`
	Requests  uint64        `json:"num_requests"`
	Errors    uint64        `json:"num_errors"`
	LastError string        `json:"last_error"`
	Time      time.Duration `json:"processing_time"` // of all requests together
	Average   time.Duration `json:"average_processing_time"`
	Live      Live          `json:"data"`
}

// Live is what a function reports beyond ADR-32. A service may send any data of its own;
// what does not fit is dropped.
type Live struct {
	Engine    mayfly.Engine `json:"engine"`
	Instances int           `json:"instances"`
	InFlight  int           `json:"in_flight"`
	Waiting   int           `json:"waiting"`
	Rejected  uint64        `json:"rejected"`
	Crashes   uint64        `json:"crashes"`
	Failing   bool          `json:"failing"`
}

// UnmarshalJSON never fails, so that invalid data does not lose an answer.
func (l *Live) UnmarshalJSON(data []byte) error {
	type fields Live
	var f fields
	if json.Unmarshal(data, &f) == nil && f.Instances >= 0 && f.Instances <= math.MaxUint16 {
		*l = Live(f)
	}
	return nil
}

// A Pong is one instance's answer to PING.
type Pong struct {
	Name    string        `json:"name"`
	ID      string        `json:"id"`
	Version string        `json:"version"`
	RTT     time.Duration `json:"rtt_ns"`
}

// Encode returns a service's answer to a question; count is called for STATS.
func Encode(verb string, s mayfly.Service, count func() []EndpointStatistics) []byte {
	who := Identity{typeOf(verb), s.Name, s.ID, s.Version, s.Metadata}
	var answer any = who
	switch verb {
	case info:
		s.Started = time.Time{}
		answer = struct {
			Type string `json:"type"`
			mayfly.Service
		}{who.Type, s}
	case stats:
		answer = Statistics{who, s.Started.UTC(), count()}
	}
	data, _ := json.Marshal(answer) // strings, numbers and maps of strings always marshal
	return data
}

func typeOf(verb string) string { return "io.nats.micro.v1." + strings.ToLower(verb) + "_response" }

// clean makes an identity safe to show, or says why it is unusable.
func (i *Identity) clean() (why string) {
	if !validName(i.Name) || !validName(i.ID) {
		return "bad name or id"
	}
	if len(i.Version) > maxName || strings.ContainsFunc(i.Version, unicode.IsControl) {
		i.Version = ""
	}
	return ""
}

func parsePing(a bus.Answer) (Pong, string) {
	var who Identity
	if json.Unmarshal(a.Body, &who) != nil {
		return Pong{}, badJSON
	}
	why := who.clean()
	return Pong{who.Name, who.ID, who.Version, a.Took}, why
}

func parseStats(a bus.Answer) (Statistics, string) {
	var s Statistics
	if json.Unmarshal(a.Body, &s) != nil {
		return s, badJSON
	}
	why := s.clean()
	kept := s.Endpoints[:0]
	for _, e := range s.Endpoints[:min(len(s.Endpoints), maxEndpoints)] {
		if validName(e.Name) {
			e.LastError = clip(e.LastError)
			kept = append(kept, e)
		}
	}
	s.Endpoints = kept
	return s, why
}

// parseInfo keeps the usable parts of an answer, or says why there are none.
func parseInfo(a bus.Answer) (mayfly.Service, string) {
	// Metadata must be strings: some clients send numbers, which name no route.
	var answer struct {
		Identity
		Description string `json:"description"`
		Endpoints   []struct {
			mayfly.Endpoint
			Metadata Metadata `json:"metadata"`
		} `json:"endpoints"`
	}
	if json.Unmarshal(a.Body, &answer) != nil {
		return mayfly.Service{}, badJSON
	}
	why := answer.clean()
	s := mayfly.Service{
		Name: answer.Name, ID: answer.ID, Version: answer.Version,
		Description: plain(clip(answer.Description)), Metadata: answer.Metadata,
	}
	for _, e := range answer.Endpoints[:min(len(answer.Endpoints), maxEndpoints)] {
		if _, err := mayfly.ParseSubjectPattern(e.Subject); err != nil || !validName(e.Name) {
			continue
		}
		e.Endpoint.Metadata = e.Metadata
		s.Endpoints = append(s.Endpoints, e.Endpoint)
	}
	return s, why
}

// Metadata is that of a service or endpoint. Values that are not strings, which some
// clients send, are skipped.
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

// validName reports whether s can be one token of a subject and is safe to show.
func validName(s string) bool {
	return s != "" && len(s) <= maxName && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsPrint(r) || strings.ContainsRune(" .*>", r)
	})
}

// clip cuts s to maxText.
func clip(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}

// plain returns s as one line without control characters: a terminal would obey them.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}
