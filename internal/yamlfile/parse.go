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
	MaxSize = 2 << 20

	// MaxDepth bounds how deep maps and lists nest. The YAML library recurses, and a
	// stack overflow cannot be recovered.
	MaxDepth = 64

	// MaxTokens bounds a file to about 80,000 lines, and MaxKeys each of its block maps:
	// there the library's time is quadratic, and its stack grows with every key.
	MaxTokens = 250_000
	MaxKeys   = 12_000

	// MaxValues bounds what aliases expand to; without them MaxTokens does.
	MaxValues = MaxTokens
)

// Text returns a file's text: without the byte order mark that some editors begin it with.
func Text(data []byte) []byte { return bytes.TrimPrefix(data, []byte("\ufeff")) }

// Parse reads one YAML document; file is its name in messages. Errors have code
// Invalid. An empty document is a Node of kind Null.
func Parse(file string, data []byte) (n *Node, err error) {
	data = Text(data)
	r := &reader{file: file, anchors: map[string]ast.Node{}}
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
		return nil, r.syntax(err, data)
	}
	return r.document(tree)
}

// A reader turns the library's tree into Nodes.
type reader struct {
	file    string
	anchors map[string]ast.Node // those already read, so an alias cannot be part of its own value
	values  int                 // read so far
}

// checkBytes rejects binary or oversized input before the library sees it.
func (r *reader) checkBytes(data []byte) error {
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
		return r.errorAt(line, column, "not valid UTF-8").WithHint("save the file as UTF-8")
	} else if c != utf8.RuneError {
		return r.errorAt(line, column, "control character %U", c)
	}
	// A literal replacement character: the file was damaged earlier.
	return r.errorAt(line, column, "replacement character %U", utf8.RuneError)
}

// checkTokens bounds the work of the library's parser and how deep it recurses. Blocks
// nest by indentation, which costs bytes, so only nesting within a line is counted.
func (r *reader) checkTokens(tokens token.Tokens) error {
	flow, line, opened := 0, 0, 0
	var open blocks
	for i, t := range tokens {
		at := t.Position
		if i == MaxTokens {
			return r.errorAt(at.Line, at.Column, "the file has more than %d tokens", MaxTokens).WithHint(tooLarge)
		}
		if at.Line != line {
			line, opened = at.Line, 0
		}
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.TagType:
			return r.errorAt(at.Line, at.Column, "tags are not allowed").WithHint("write out the value, or quote text that starts with !")
		case token.SequenceEntryType, token.MappingKeyType:
			opened++
			open.leave(at.Column)
		case token.MappingValueType:
			if flow > 0 {
				break
			}
			opened++
			if i > 0 && open.key(tokens[i-1].Position.Column) > MaxKeys {
				return r.errorAt(at.Line, tokens[i-1].Position.Column, "the map has more than %d keys", MaxKeys).WithHint(tooLarge)
			}
		}
		if flow > MaxDepth || opened > MaxDepth {
			return r.errorAt(at.Line, at.Column, "maps and lists are nested deeper than %d", MaxDepth)
		}
	}
	return nil
}

// tooLarge is the hint for a file that is longer than people write.
const tooLarge = "split it: mayfly up A B runs several projects, each with a file of its own"

// blocks are the open block maps, outermost first.
type blocks []struct{ column, keys int }

// leave closes the maps to the right of a column.
func (b *blocks) leave(column int) {
	for len(*b) > 0 && (*b)[len(*b)-1].column > column {
		*b = (*b)[:len(*b)-1]
	}
}

// key counts a key at a column, and returns how many its map has.
func (b *blocks) key(column int) int {
	b.leave(column)
	if len(*b) == 0 || (*b)[len(*b)-1].column < column {
		*b = append(*b, struct{ column, keys int }{column, 0})
	}
	top := &(*b)[len(*b)-1]
	top.keys++
	return top.keys
}

// document returns the root of the only document.
func (r *reader) document(tree *ast.File) (*Node, error) {
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
func (r *reader) node(value ast.Node, path string, depth int) (*Node, error) {
	t := value.GetToken()
	n := &Node{File: r.file, Path: path, Line: t.Position.Line, Column: t.Position.Column, Text: t.Value}
	if depth > MaxDepth {
		return nil, n.Errorf("maps and lists are nested deeper than %d", MaxDepth)
	}
	if r.values++; r.values > MaxValues {
		return nil, n.Errorf("aliases expand to more than %d values", MaxValues).WithHint(tooLarge)
	}
	switch v := value.(type) {
	case *ast.AnchorNode:
		n, err := r.node(v.Value, path, depth+1)
		r.anchors[v.Name.GetToken().Value] = v.Value
		return n, err
	case *ast.AliasNode:
		name := v.Value.GetToken().Value
		if r.anchors[name] == nil {
			return nil, n.Errorf("alias *%s has no anchor before it", mayfly.Clip(name)).WithHint("quote text that starts with *")
		}
		return r.node(r.anchors[name], path, depth+1)
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

// fields adds the keys and values of a map to n, and then those of the maps under its
// merge keys that it does not have: the first map that has one gives the value.
func (r *reader) fields(n *Node, values []*ast.MappingValueNode, depth int) error {
	seen := make(map[string]*Node, len(values))
	var merged []*Node
	for _, v := range values {
		if v.Key.IsMergeKey() {
			from, err := r.node(v.Value, n.Path, depth+1)
			if err != nil {
				return err
			}
			merged = append(merged, from.Each()...)
			continue
		}
		f, err := r.field(n, v, depth)
		if err != nil {
			return err
		}
		if first := seen[f.Key.Text]; first != nil {
			return f.Key.Errorf("duplicate key %q%s: first on line %d", mayfly.Clip(f.Key.Text), n.in(), first.Line)
		}
		seen[f.Key.Text] = f.Key
		n.Fields = append(n.Fields, f)
	}
	for _, from := range merged {
		if from.Kind != Map {
			return from.Errorf("<< merges maps only, not %s", from.Kind)
		}
		for _, f := range from.Fields {
			if seen[f.Key.Text] == nil {
				seen[f.Key.Text] = f.Key
				n.Fields = append(n.Fields, f)
			}
		}
	}
	return nil
}

// field turns one key of n, and its value, into Nodes.
func (r *reader) field(n *Node, v *ast.MappingValueNode, depth int) (f Field, err error) {
	if _, scalar := v.Key.(ast.ScalarNode); !scalar {
		at := v.Key.GetToken().Position
		return f, r.errorAt(at.Line, at.Column, "a key must be text on one line")
	}
	if f.Key, err = r.node(v.Key, n.Path, depth+1); err != nil {
		return f, err
	}
	if f.Key.Kind == Null {
		return f, f.Key.Errorf("empty key")
	}
	path := f.Key.Text
	if n.Path != "" {
		path = n.Path + "." + f.Key.Text
	}
	if f.Value, err = r.node(v.Value, path, depth+1); err != nil {
		return f, err
	}
	if f.Value.Kind == Null {
		f.Value.Line, f.Value.Column = f.Key.Line, f.Key.Column // there may be nothing to point at
	}
	return f, nil
}

// startAt moves a map without braces to its first key: the library places it at the
// first colon.
func (n *Node) startAt(key ast.Node) {
	at := key.GetToken().Position
	n.Line, n.Column = at.Line, at.Column
}

// syntax turns the library's error into one line. Never call its Error method: that
// quotes the source, which takes minutes for a large file.
func (r *reader) syntax(err error, data []byte) error {
	e, ok := errors.AsType[yaml.Error](err)
	if !ok {
		return r.errorAt(1, 1, "the file is not valid YAML")
	}
	line, column := 1, 1
	if t := e.GetToken(); t != nil && t.Position != nil {
		line, column = t.Position.Line, t.Position.Column
	}
	lines := bytes.SplitN(data, []byte("\n"), line+1)
	if indent := lines[min(line, len(lines))-1]; bytes.HasPrefix(bytes.TrimLeft(indent, " "), []byte("\t")) {
		return r.errorAt(line, 1+bytes.IndexByte(indent, '\t'), "the line is indented with a tab").WithHint("use spaces: YAML allows no tabs there")
	}
	text, _, _ := strings.Cut(e.GetMessage(), "\n")
	return r.errorAt(line, column, "%s", mayfly.Clip(text)).
		WithHint(`text with { } [ ] , # or ": " in it may need quotes`)
}

func (r *reader) errorAt(line, column int, format string, args ...any) *mayfly.Error {
	n := Node{File: r.file, Line: line, Column: column}
	return n.Errorf(format, args...)
}
