package mayfly

import (
	"strings"
	"unicode/utf8"
)

// MaxSubject is the length of the longest Subject, in bytes. A subject near the
// server's limit of 4 KiB per protocol line makes it close the connection, for all who
// share it, so the bound is far below.
const MaxSubject = 256

// A Subject is a NATS subject that Mayfly may publish to for an outside caller: no
// wildcards or empty tokens, and nothing that a server or client reserves ($JS, $SYS,
// $SRV, _INBOX) or Mayfly keeps for itself.
type Subject string

// ParseSubject returns s as a Subject, or an error with code Invalid.
func ParseSubject(s string) (Subject, error) {
	if _, err := checkSubject(s, false); err != nil {
		return "", err
	}
	return Subject(s), nil
}

// A SubjectPattern is a Subject in which whole tokens may be the wildcards * and,
// last, >.
type SubjectPattern struct {
	text      string
	wildcards int
}

// ParseSubjectPattern returns s as a SubjectPattern, or an error with code Invalid.
func ParseSubjectPattern(s string) (SubjectPattern, error) {
	wildcards, err := checkSubject(s, true)
	if err != nil {
		return SubjectPattern{}, err
	}
	return SubjectPattern{text: s, wildcards: wildcards}, nil
}

// String returns the pattern's text.
func (p SubjectPattern) String() string { return p.text }

// MarshalText implements encoding.TextMarshaler.
func (p SubjectPattern) MarshalText() ([]byte, error) { return []byte(p.text), nil }

// UnmarshalText implements encoding.TextUnmarshaler by ParseSubjectPattern.
func (p *SubjectPattern) UnmarshalText(text []byte) (err error) {
	*p, err = ParseSubjectPattern(string(text))
	return err
}

// Wild reports whether the pattern has a wildcard.
func (p SubjectPattern) Wild() bool { return p.wildcards > 0 }

// Fill returns the subject with the values in place of the wildcards, in order; a last
// > takes all that remain. Too few or too many values are NotFound, because then the
// path that they came from does not exist; a value that cannot be a token is Invalid.
func (p SubjectPattern) Fill(values []string) (Subject, error) {
	if p.wildcards == 0 && len(values) == 0 {
		return Subject(p.text), nil
	}
	for _, v := range values {
		// A value with a dot would name several tokens at once.
		if strings.Contains(v, ".") {
			return "", Errorf(Invalid, "value %q has a dot: it stands for one token of subject %q", Clip(v), p.text)
		}
	}
	tokens := strings.Split(p.text, ".")
	for i, token := range tokens {
		if token != "*" && token != ">" {
			continue
		}
		if len(values) == 0 {
			return "", Errorf(NotFound, "the path has too few segments for subject %q", p.text)
		}
		if token == ">" {
			tokens[i] = strings.Join(values, ".")
			values = nil
			break
		}
		tokens[i], values = values[0], values[1:]
	}
	if len(values) > 0 {
		return "", Errorf(NotFound, "the path has too many segments for subject %q", p.text)
	}
	return ParseSubject(strings.Join(tokens, "."))
}

// checkSubject holds the rules for both kinds, and counts the wildcards.
func checkSubject(s string, wild bool) (wildcards int, err error) {
	switch {
	case s == "":
		return 0, Errorf(Invalid, "a subject is empty")
	case len(s) > MaxSubject:
		return 0, Errorf(Invalid, "subject %q is %d bytes long: at most %d are allowed", Clip(s), len(s), MaxSubject)
	case !utf8.ValidString(s):
		return 0, Errorf(Invalid, "subject %q is not UTF-8", Clip(s))
	case s[0] == '$' || s[0] == '_':
		return 0, Errorf(Invalid, "subject %q starts with %q, which NATS reserves", Clip(s), s[:1])
	case s == SubjectInternal || strings.HasPrefix(s, SubjectInternal+"."):
		return 0, Errorf(Invalid, "subject %q is internal to Mayfly", Clip(s))
	}
	start := 0
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != '.' {
			if c := s[i]; c <= ' ' || c == 0x7f {
				return 0, Errorf(Invalid, "subject %q has a space or control character at byte %d", Clip(s), i+1)
			}
			continue
		}
		token := s[start:i]
		start = i + 1
		switch {
		case token == "":
			return 0, Errorf(Invalid, "subject %q has an empty token: two dots in a row, or one at the start or end", Clip(s))
		case wild && (token == "*" || token == ">" && i == len(s)):
			// A wildcard as the first token would reach $JS, $SYS and _INBOX.
			if wildcards++; len(token) == i {
				return 0, Errorf(Invalid, "subject %q starts with a wildcard", Clip(s))
			}
		case strings.ContainsAny(token, "*>"):
			return 0, Errorf(Invalid, "subject %q has a wildcard in token %q", Clip(s), Clip(token))
		}
	}
	return wildcards, nil
}
