package mayfly

import (
	"encoding/json"
	"strings"
)

// MaxTemplate is the length of the longest Template, in bytes.
const MaxTemplate = 64 << 10

// A Template makes the payload of a request without a body, from its path and query
// values. The zero Template makes an empty payload.
//
// {name} is replaced by a value; any other brace is text, so JSON needs no escapes:
//
//	{n}                          3
//	{"n":{n},"by":"{user}"}      {"n":3,"by":"Ada"}
//	json                         {"n":"3","user":"Ada"}, all values
//
// A template that starts with [ or with a { that is not a placeholder is taken for
// JSON: inside quotes a value is escaped, elsewhere it must be a number, true, false or
// null, or else is quoted. So no value can change the structure that the author wrote.
type Template struct {
	text  string
	parts []part // nil for an empty template and for json
	all   bool   // the template is "json"
}

// A part is text and the placeholder after it, if any.
type part struct {
	text string
	name string // "" for the last part
	kind kind
}

type kind int

const (
	plain  kind = iota // unchanged
	quoted             // inside a JSON string
	scalar             // a JSON value
)

// ParseTemplate parses a template. Errors have code Invalid.
func ParseTemplate(s string) (Template, error) {
	if len(s) > MaxTemplate {
		return Template{}, Errorf(Invalid, "a payload template is %d bytes long: at most %d are allowed", len(s), MaxTemplate)
	}
	t := Template{text: s}
	if s == "json" {
		t.all = true
		return t, nil
	}
	isJSON := false
	if trimmed := strings.TrimSpace(s); trimmed != "" && (trimmed[0] == '{' || trimmed[0] == '[') {
		end := strings.IndexByte(trimmed, '}')
		isJSON = end < 0 || !isIdentifier(trimmed[1:end])
	}
	inString, start := false, 0
	for i := 0; i < len(s); i++ {
		switch {
		case isJSON && inString && s[i] == '\\':
			i++
		case isJSON && s[i] == '"':
			inString = !inString
		case s[i] == '{':
			end := strings.IndexByte(s[i:], '}')
			if end < 0 || !isIdentifier(s[i+1:i+end]) {
				continue
			}
			p := part{text: s[start:i], name: s[i+1 : i+end]}
			if isJSON && inString {
				p.kind = quoted
			} else if isJSON {
				p.kind = scalar
			}
			t.parts = append(t.parts, p)
			i += end
			start = i + 1
		}
	}
	if start < len(s) {
		t.parts = append(t.parts, part{text: s[start:]})
	}
	return t, nil
}

// String returns the form that ParseTemplate reads.
func (t Template) String() string { return t.text }

// MarshalText implements encoding.TextMarshaler.
func (t Template) MarshalText() ([]byte, error) { return []byte(t.text), nil }

// UnmarshalText implements encoding.TextUnmarshaler by ParseTemplate.
func (t *Template) UnmarshalText(text []byte) (err error) {
	*t, err = ParseTemplate(string(text))
	return err
}

// Names returns the names of the template's values, each once.
func (t Template) Names() []string {
	var names []string
	seen := map[string]bool{}
	for _, p := range t.parts {
		if p.name != "" && !seen[p.name] {
			seen[p.name] = true
			names = append(names, p.name)
		}
	}
	return names
}

// Fill returns the payload. all supplies the values of a "json" template, value those of
// others by name; a missing value is empty text, or null in JSON.
func (t Template) Fill(value func(name string) (string, bool), all func() map[string]string) []byte {
	if t.all {
		values := all()
		if len(values) == 0 {
			return []byte("{}") // a nil map would be null
		}
		b, _ := json.Marshal(values) // a map of strings always marshals
		return b
	}
	var b []byte
	for _, p := range t.parts {
		b = append(b, p.text...)
		if p.name == "" {
			continue
		}
		v, ok := value(p.name)
		switch {
		case p.kind == plain:
			b = append(b, v...)
		case p.kind == quoted:
			q, _ := json.Marshal(v) // a string always marshals
			b = append(b, q[1:len(q)-1]...)
		case !ok:
			b = append(b, "null"...)
		case isScalar(v):
			b = append(b, v...)
		default:
			q, _ := json.Marshal(v)
			b = append(b, q...)
		}
	}
	return b
}

// isScalar reports whether v is a JSON number, true, false or null.
func isScalar(v string) bool {
	if v == "" || strings.ContainsAny(v[:1], "\"{[ \t\r\n") || strings.ContainsAny(v[len(v)-1:], " \t\r\n") {
		return false
	}
	return json.Valid([]byte(v))
}
