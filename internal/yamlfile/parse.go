package yamlfile

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/mayfly-run/mayfly"
)

const (
	// MaxSize is the size of the largest file that Parse reads, in bytes.
	MaxSize = 1 << 20

	// MaxDepth bounds how deep maps and lists nest. The YAML library recurses, and a
	// stack overflow cannot be recovered.
	MaxDepth = 64

	// MaxTokens bounds a file to about 15,000 lines. The library's time is quadratic
	// where values are missing.
	MaxTokens = 50_000
)

// Parse reads one YAML document; file is its name in messages. Errors have code
// Invalid. An empty document is a Node of kind Null.
func Parse(file string, data []byte) (n *Node, err error) {
	r := reader{file: file}
	if err := r.checkBytes(data); err != nil {
		return nil, err
	}
	// A bug in the library must not crash a node.
	defer func() {
		if p := recover(); p != nil {
			n, err = nil, r.errorAt(1, 1, "the file is not valid YAML (%v)", p)
		}
	}()
	tokens := lexer.Tokenize(string(data))
	if err := r.checkTokens(tokens); err != nil {
		return nil, err
	}
	// Duplicate keys are found below, where both places are known.
	tree, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, r.syntax(err)
	}
	return r.document(tree)
}

// A reader turns the library's tree into Nodes.
type reader struct {
	file string
}

// checkBytes rejects binary or oversized input before the library sees it.
func (r reader) checkBytes(data []byte) error {
	if len(data) > MaxSize {
		return r.errorAt(1, 1, "the file is %d bytes long; the limit is %d", len(data), MaxSize)
	}
	bad := bytes.IndexFunc(data, func(c rune) bool {
		return c < ' ' && c != '\n' && c != '\r' && c != '\t' || c == 0x7f || c == utf8.RuneError
	})
	if bad < 0 {
		return nil
	}
	line := 1 + bytes.Count(data[:bad], []byte("\n"))
	column := 1 + utf8.RuneCount(data[bytes.LastIndexByte(data[:bad], '\n')+1:bad])
	if c, size := utf8.DecodeRune(data[bad:]); c == utf8.RuneError && size == 1 {
		return r.errorAt(line, column, "not valid UTF-8")
	} else if c != utf8.RuneError {
		return r.errorAt(line, column, "control character %U", c)
	}
	// A literal replacement character: the file was damaged earlier.
	return r.errorAt(line, column, "replacement character %U", utf8.RuneError)
}

// checkTokens bounds how deep the library's parser recurses. Blocks nest by indentation,
// which costs bytes, so only nesting within a line is counted.
func (r reader) checkTokens(tokens token.Tokens) error {
	flow, line, opened := 0, 0, 0
	for i, t := range tokens {
		if i == MaxTokens {
			return r.errorAt(t.Position.Line, t.Position.Column, "the file has more than %d tokens", MaxTokens)
		}
		if t.Position.Line != line {
			line, opened = t.Position.Line, 0
		}
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.AnchorType, token.AliasType, token.TagType, token.MergeKeyType:
			return r.errorAt(t.Position.Line, t.Position.Column, "anchors, aliases, merge keys and tags are not allowed").
				WithHint("write out the value, or quote text that starts with & * or !")
		case token.SequenceEntryType, token.MappingKeyType:
			opened++
		case token.MappingValueType:
			if flow == 0 {
				opened++
			}
		}
		if flow > MaxDepth || opened > MaxDepth {
			return r.errorAt(t.Position.Line, t.Position.Column, "maps and lists are nested deeper than %d", MaxDepth)
		}
	}
	return nil
}

// document returns the root of the only document.
func (r reader) document(tree *ast.File) (*Node, error) {
	var root *Node
	for _, doc := range tree.Docs {
		if doc.Body == nil {
			continue
		}
		n, err := r.node(doc.Body, "", 0)
		if err != nil {
			return nil, err
		}
		if root != nil {
			return nil, n.Errorf("only one document is allowed, and a second starts here")
		}
		root = n
	}
	if root == nil {
		root = &Node{File: r.file, Line: 1, Column: 1}
	}
	return root, nil
}

// node turns one value of the library's tree, at path, into a Node.
func (r reader) node(value ast.Node, path string, depth int) (*Node, error) {
	t := value.GetToken()
	n := &Node{File: r.file, Path: path, Line: t.Position.Line, Column: t.Position.Column, Text: t.Value}
	if depth > MaxDepth {
		return nil, n.Errorf("maps and lists are nested deeper than %d", MaxDepth)
	}
	switch v := value.(type) {
	case *ast.NullNode:
		n.Kind, n.Text = Null, ""
	case *ast.BoolNode:
		n.Kind = Bool
	case *ast.IntegerNode:
		n.Kind, n.number = Number, v.Value
	case *ast.FloatNode:
		n.Kind, n.number = Number, v.Value
	case *ast.StringNode:
		n.Kind, n.Text = String, v.Value
	case *ast.LiteralNode:
		n.Kind, n.Text = String, v.Value.Value
	case *ast.InfinityNode:
		n.Kind, n.number = Number, v.Value
	case *ast.NanNode:
		n.Kind, n.number = Number, math.NaN()
	case *ast.SequenceNode:
		n.Kind, n.Text = List, ""
		for i, item := range v.Values {
			child, err := r.node(item, fmt.Sprintf("%s[%d]", path, i), depth+1)
			if err != nil {
				return nil, err
			}
			n.Items = append(n.Items, child)
		}
	case *ast.MappingNode:
		n.Kind, n.Text = Map, ""
		if !v.IsFlowStyle && len(v.Values) > 0 {
			n.startAt(v.Values[0].Key)
		}
		return n, r.fields(n, v.Values, depth)
	case *ast.MappingValueNode:
		n.Kind, n.Text = Map, ""
		n.startAt(v.Key)
		return n, r.fields(n, []*ast.MappingValueNode{v}, depth)
	default:
		return nil, n.Errorf("a %s is not allowed here", strings.ToLower(value.Type().String()))
	}
	return n, nil
}

// fields adds the keys and values of a map to n.
func (r reader) fields(n *Node, values []*ast.MappingValueNode, depth int) error {
	seen := make(map[string]*Node, len(values))
	for _, v := range values {
		if _, scalar := v.Key.(ast.ScalarNode); !scalar {
			at := v.Key.GetToken().Position
			return r.errorAt(at.Line, at.Column, "a key must be text on one line")
		}
		key, err := r.node(v.Key, n.Path, depth+1)
		if err != nil {
			return err
		}
		if key.Kind == Null {
			return key.Errorf("empty key")
		}
		if first := seen[key.Text]; first != nil {
			return key.Errorf("duplicate key %q%s: first on line %d", mayfly.Clip(key.Text), n.in(), first.Line)
		}
		seen[key.Text] = key
		path := key.Text
		if n.Path != "" {
			path = n.Path + "." + key.Text
		}
		value, err := r.node(v.Value, path, depth+1)
		if err != nil {
			return err
		}
		if value.Kind == Null {
			value.Line, value.Column = key.Line, key.Column // there may be nothing to point at
		}
		n.Fields = append(n.Fields, Field{Key: key, Value: value})
	}
	return nil
}

// startAt moves a map without braces to its first key: the library places it at the
// first colon.
func (n *Node) startAt(key ast.Node) {
	at := key.GetToken().Position
	n.Line, n.Column = at.Line, at.Column
}

// syntax turns the library's error into one line. Never call its Error method: that
// quotes the source, which takes minutes for a large file.
func (r reader) syntax(err error) error {
	e, ok := errors.AsType[yaml.Error](err)
	if !ok {
		return r.errorAt(1, 1, "the file is not valid YAML")
	}
	line, column := 1, 1
	if t := e.GetToken(); t != nil && t.Position != nil {
		line, column = t.Position.Line, t.Position.Column
	}
	text, _, _ := strings.Cut(e.GetMessage(), "\n")
	return r.errorAt(line, column, "%s", mayfly.Clip(text)).
		WithHint(`text with { } [ ] , # or ": " in it may need quotes`)
}

func (r reader) errorAt(line, column int, format string, args ...any) *mayfly.Error {
	n := Node{File: r.file, Line: line, Column: column}
	return n.Errorf(format, args...)
}
