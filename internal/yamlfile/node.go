package yamlfile

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/nearest"
)

// A Kind says what a Node is.
type Kind int

// The kinds.
const (
	Null Kind = iota // nothing was written
	Bool
	Number
	String
	List
	Map
)

// String returns the kind with its article, for messages.
func (k Kind) String() string {
	return [...]string{"nothing", "a bool", "a number", "text", "a list", "a map"}[k]
}

// A Node is one value of a file and its position.
type Node struct {
	Kind   Kind
	Text   string  // of a Bool, Number or String, without quotes
	Items  []*Node // of a List
	Fields []Field // of a Map, as written

	Path   string // such as routes.create-task.http[1]; "" for the document
	File   string
	Line   int // from 1
	Column int // from 1, in characters

	number any // of a Number: int64, uint64 or float64
}

// A Field is a key of a Map and its value. A key's Path is that of its map.
type Field struct {
	Key   *Node
	Value *Node
}

// Errorf returns an error with code Invalid that starts with the node's place.
func (n *Node) Errorf(format string, args ...any) *mayfly.Error {
	return mayfly.Errorf(mayfly.Invalid, "%s:%d:%d: "+format, append([]any{n.File, n.Line, n.Column}, args...)...)
}

// Wrap returns err prefixed with the node's place, keeping code and hint.
func (n *Node) Wrap(err error) error {
	e := n.Errorf("%w", err)
	e.Code, e.Hint = mayfly.CodeOf(err), mayfly.HintOf(err)
	return e
}

// Get returns the value of a key of a Map, or nil.
func (n *Node) Get(key string) *Node {
	for _, f := range n.Fields {
		if f.Key.Text == key {
			return f.Value
		}
	}
	return nil
}

// Map returns the fields of a Map.
func (n *Node) Map() ([]Field, error) {
	if n.Kind != Map {
		return nil, n.want("a map")
	}
	return n.Fields, nil
}

// Only returns an error unless n is a Map whose keys are all among known.
func (n *Node) Only(known ...string) error {
	fields, err := n.Map()
	if err != nil {
		return err
	}
	for _, f := range fields {
		if !slices.Contains(known, f.Key.Text) {
			return n.Unknown(f.Key, known)
		}
	}
	return nil
}

// Unknown returns the error for an unknown key of n, with the nearest known one as its
// hint.
func (n *Node) Unknown(key *Node, known []string) *mayfly.Error {
	return key.Errorf("unknown key %q%s", mayfly.Clip(key.Text), n.in()).WithHint("%s", nearest.Hint(key.Text, known, ""))
}

// Str returns the text of a scalar as written, also of a Number or Bool.
func (n *Node) Str() (string, error) {
	switch n.Kind {
	case Bool, Number, String:
		return n.Text, nil
	default:
		return "", n.want("text")
	}
}

// Bool returns the value of true or false.
func (n *Node) Bool() (bool, error) {
	if n.Kind == Bool || n.Kind == String {
		if b, err := strconv.ParseBool(n.Text); err == nil {
			return b, nil
		}
	}
	return false, n.want("true or false")
}

// Duration returns the value of text such as 5s or 1m30s.
func (n *Node) Duration() (time.Duration, error) {
	if n.Kind != String && n.Kind != Number {
		return 0, n.want("a duration such as 5s")
	}
	d, err := time.ParseDuration(n.Text)
	if err != nil {
		return 0, n.Errorf("%q%s is not a duration", mayfly.Clip(n.Text), n.is()).WithHint("try 500ms, 5s or 1m30s")
	}
	return d, nil
}

// Strs returns the texts of a List, or the one text of a scalar.
func (n *Node) Strs() ([]string, error) {
	var all []string
	for _, item := range n.Each() {
		s, err := item.Str()
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// Each returns the items of a List, or n itself, for keys that take one value or a list.
func (n *Node) Each() []*Node {
	if n.Kind == List {
		return n.Items
	}
	return []*Node{n}
}

// JSON returns the value as JSON, with the keys in the order of the file.
func (n *Node) JSON() (json.RawMessage, error) {
	return n.appendJSON(nil)
}

func (n *Node) appendJSON(b []byte) ([]byte, error) {
	var err error
	switch n.Kind {
	case Null:
		return append(b, "null"...), nil
	case List:
		b = append(b, '[')
		for i, item := range n.Items {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = item.appendJSON(b); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case Map:
		b = append(b, '{')
		for i, f := range n.Fields {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendScalar(b, f.Key.Text)
			b = append(b, ':')
			if b, err = f.Value.appendJSON(b); err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	case Bool:
		v, err := n.Bool()
		return strconv.AppendBool(b, v), err
	case Number:
		v, err := json.Marshal(n.number)
		if err != nil {
			return nil, n.Errorf("%s%s is not a JSON number", mayfly.Clip(n.Text), n.is())
		}
		return append(b, v...), nil
	default:
		return appendScalar(b, n.Text), nil
	}
}

func appendScalar(b []byte, s string) []byte {
	q, _ := json.Marshal(s) // a string always marshals
	return append(b, q...)
}

// want returns the error for a value of the wrong kind.
func (n *Node) want(what string) *mayfly.Error {
	if n.Path == "" {
		return n.Errorf("the file must hold %s, not %s", what, n.Kind)
	}
	return n.Errorf("%s must be %s, not %s", mayfly.Clip(n.Path), what, n.Kind)
}

// in names the map that a key is in.
func (n *Node) in() string {
	if n.Path == "" {
		return ""
	}
	return " in " + mayfly.Clip(n.Path)
}

// is names the key of a value.
func (n *Node) is() string {
	if n.Path == "" {
		return ""
	}
	return fmt.Sprintf(" (%s)", mayfly.Clip(n.Path))
}
