package mayfly

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxName is the length of the longest Name, in bytes.
const MaxName = 63

// A Name names a function, a service or a project. It fits into a NATS token, a path
// segment and a file name: lower-case letters, digits and dashes, at most MaxName
// bytes, starting with a letter or digit.
type Name string

// ParseName returns s as a Name, or an error with code Invalid that says which
// character is wrong.
func ParseName(s string) (Name, error) {
	if s == "" {
		return "", Errorf(Invalid, "a name is empty")
	}
	if len(s) > MaxName {
		return "", Errorf(Invalid, "name %q is %d bytes long: at most %d are allowed", Clip(s), len(s), MaxName)
	}
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' && i > 0 {
			continue
		}
		_, size := utf8.DecodeRuneInString(s[i:])
		return "", Errorf(Invalid, "name %q has %q at byte %d: use a-z, 0-9 and - (not first)", Clip(s), s[i:i+size], i+1)
	}
	return Name(s), nil
}

// ParseName returns s as the name of a unit of kind k, or an error with code Invalid.
// Service names may also contain A-Z and _, as in ADR-32.
func (k Kind) ParseName(s string) (Name, error) {
	if k == KindFunction {
		return ParseName(s)
	}
	odd := strings.ContainsFunc(s, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_')
	})
	if s == "" || len(s) > MaxName || odd {
		return "", Errorf(Invalid, "%q is not a service name: use letters, digits, _ and -, at most %d", Clip(s), MaxName)
	}
	return Name(s), nil
}

// UnmarshalText implements encoding.TextUnmarshaler with ParseName, so that stored names
// are valid too.
func (n *Name) UnmarshalText(text []byte) (err error) {
	*n, err = ParseName(string(text))
	return err
}

// A Ref identifies a revision of a function, or the current one.
type Ref struct {
	Name     Name
	Revision uint64 // 0 is the current one
}

// String returns "hello@7", or "hello" for the current revision.
func (r Ref) String() string {
	if r.Revision == 0 {
		return string(r.Name)
	}
	return string(r.Name) + "@" + strconv.FormatUint(r.Revision, 10)
}
