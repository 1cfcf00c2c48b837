package project

import (
	"bytes"
	"encoding/json"
	"maps"

	"github.com/mayfly-run/mayfly/internal/yamlfile"
)

// A key is one row of a table: everything about one key of mayfly.yaml, which is kept
// in a T. The parser, the JSON Schema, the tables of docs/manifest.md and the hint
// for a mistyped key come from it.
type key[T any] struct {
	row
	read func(m *manifest, n *yamlfile.Node, t *T) error
}

// A row is what can be said of a key without its T.
type row struct {
	name     string
	doc      string // for the manual and for editors
	schema   schema
	fallback any    // what holds without the key, if it is a constant
	without  string // what goes wrong without it; "" if it is optional
	example  string // of a key that is not
	below    []row  // of a group, its keys
}

// A kind is a type of value that a key may have.
type kind[V any] struct {
	schema schema
	read   func(n *yamlfile.Node) (V, error)
}

// A schema is a JSON Schema (2020-12).
type schema map[string]any

// with returns s with more keywords.
func (s schema) with(more schema) schema {
	s = maps.Clone(s)
	maps.Copy(s, more)
	return s
}

// own is a key with a reader of its own.
func own[T any](name string, s schema, read func(*manifest, *yamlfile.Node, *T) error, doc string) key[T] {
	return key[T]{row{name: name, schema: s, doc: doc}, read}
}

// set is a key whose value is of a kind and goes to a field of T.
func set[T, V any](name string, as kind[V], field func(*T) *V, doc string) key[T] {
	return own(name, as.schema, func(_ *manifest, n *yamlfile.Node, t *T) error {
		v, err := as.read(n)
		if err == nil {
			*field(t) = v
		}
		return err
	}, doc)
}

// each is a key whose value is a map with names that the user chooses.
func each(name string, names, entry schema, read func(*manifest, yamlfile.Field) error, doc string) key[Project] {
	s := schema{"type": "object", "propertyNames": names, "additionalProperties": entry}
	return own(name, s, func(m *manifest, n *yamlfile.Node, _ *Project) error {
		fields, err := n.Map()
		for i := 0; i < len(fields) && err == nil; i++ {
			err = read(m, fields[i])
		}
		return err
	}, doc)
}

// or returns k with what holds without it.
func (k key[T]) or(fallback any) key[T] {
	k.fallback = fallback
	return k
}

// required returns k as one that must be there.
func (k key[T]) required(without, example string) key[T] {
	k.without, k.example = without, example
	return k
}

// group returns k as one whose value is, or may be, a map with these keys.
func (k key[T]) group(below []row) key[T] {
	k.below = below
	return k
}

// and returns k with a check that follows the reading; keys further up the table are
// read by then.
func (k key[T]) and(check func(n *yamlfile.Node, t *T) error) key[T] {
	read := k.read
	k.read = func(m *manifest, n *yamlfile.Node, t *T) error {
		if err := read(m, n, t); err != nil {
			return err
		}
		return check(n, t)
	}
	return k
}

// lift returns the keys of a part of T as keys of T.
func lift[T, U any](keys table[U], part func(*T) *U) table[T] {
	var all table[T]
	for _, k := range keys {
		all = append(all, key[T]{k.row, func(m *manifest, n *yamlfile.Node, t *T) error { return k.read(m, n, part(t)) }})
	}
	return all
}

// A table is a map of the manifest, key by key, in the order in which they are read.
type table[T any] []key[T]

// read fills t with what n says. A missing key is reported at the place of at.
func (k table[T]) read(m *manifest, at, n *yamlfile.Node, t *T) error {
	if err := k.known(n); err != nil {
		return err
	}
	for _, key := range k {
		v := n.Get(key.name)
		if v != nil {
			if err := key.read(m, v, t); err != nil {
				return err
			}
		} else if key.without != "" {
			return at.Errorf("%s has no %s: %s", n.Path, key.name, key.without).WithHint("add %s: %s", key.name, key.example)
		}
	}
	return nil
}

// known rejects keys that are not in the table. An empty value passes where read can
// say which key is missing.
func (k table[T]) known(n *yamlfile.Node) error {
	var names []string
	for _, key := range k {
		if n.Kind == yamlfile.Null && key.without != "" {
			return nil
		}
		names = append(names, key.name)
	}
	return n.Only(names...)
}

// rows returns the table as the manual lists it: a group, then its keys.
func (k table[T]) rows() []row {
	var all []row
	for _, key := range k {
		all = append(all, key.row)
		for _, b := range key.below {
			b.name = key.name + "." + b.name
			all = append(all, b)
		}
	}
	return all
}

// schema returns the JSON Schema of the table's map.
func (k table[T]) schema() schema {
	properties, required := schema{}, []string{}
	for _, key := range k {
		property := key.row.schema.with(schema{"description": key.doc})
		if key.fallback != nil {
			property["default"] = key.fallback
		}
		properties[key.name] = property
		if key.without != "" {
			required = append(required, key.name)
		}
	}
	return schema{"type": "object", "additionalProperties": false, "properties": properties, "required": required}
}

// Schema returns the JSON Schema (2020-12) of a manifest, for editors. Parse rejects
// whatever it rejects, and more: no schema can tell that two routes clash or that a
// file is missing.
func Schema() []byte {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(projectKeys.schema().with(schema{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "title": Manifest,
		"description":       "A Mayfly project: its functions, services and routes.",
		"patternProperties": schema{"^x-": schema{"description": "Anything, such as anchors (&name) for use elsewhere in the file."}},
	})); err != nil {
		panic(err) // it is made of texts, numbers, lists and maps
	}
	return text.Bytes()
}
