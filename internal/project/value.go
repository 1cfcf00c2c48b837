package project

import (
	"math"
	"strconv"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/config"
	"github.com/mayfly-run/mayfly/internal/yamlfile"
)

// The kinds of values that several keys take.
var (
	asText     = kind[string]{schema{"type": []string{"string", "number", "boolean"}}, (*yamlfile.Node).Str}
	asTexts    = kind[map[string]string]{schema{"type": "object", "additionalProperties": asText.schema}, readTexts}
	asBool     = kind[bool]{schema{"anyOf": []schema{{"type": "boolean"}, matching("^([01tTfF]|true|True|TRUE|false|False|FALSE)$")}}, (*yamlfile.Node).Bool}
	asName     = kind[mayfly.Name]{nameSchema, readName[mayfly.Name]}
	asSize     = kind[int64]{matching("^ *0*[1-9][0-9]* *([kKmMgGtT][iI]?[bB])? *$").with(schema{"type": []string{"integer", "string"}, "minimum": 1}), readSize}
	nameSchema = matching("^[a-z0-9][a-z0-9-]{0,62}$").with(schema{"type": []string{"string", "integer"}})
)

// matching is the schema of text that matches a pattern, or that has a variable in
// it, whose value only Parse knows.
func matching(pattern string) schema {
	return schema{"type": "string", "pattern": pattern + `|\$\{`}
}

// asWhole is a whole number, which a variable may have given as text.
func asWhole(least, most int) kind[int] {
	s := matching("^[0-9]+$").with(schema{"type": []string{"integer", "string"}, "minimum": least, "maximum": most})
	return kind[int]{s, func(n *yamlfile.Node) (int, error) {
		digits := n.Text
		if n.Kind == yamlfile.Number {
			exact, err := n.JSON()
			if err != nil {
				return 0, err
			}
			digits = string(exact)
		}
		v, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n.Kind != yamlfile.Number && n.Kind != yamlfile.String || v > math.MaxInt32 || v < math.MinInt32 {
			return 0, n.Errorf("%s must be a whole number", n.Path)
		}
		if v < int64(least) || v > int64(most) {
			return 0, n.Errorf("%s is %d: it must be from %d to %d", n.Path, v, least, most)
		}
		return int(v), nil
	}}
}

// asDuration is a duration that must not be zero.
var asDuration = kind[mayfly.Duration]{
	matching(`^\+?([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+$`).with(schema{"allOf": []schema{matching("[1-9]")}}),
	func(n *yamlfile.Node) (mayfly.Duration, error) {
		d, err := n.Duration()
		if err == nil && d <= 0 {
			err = n.Errorf("%s is %s: it must be more than 0", n.Path, n.Text)
		}
		return mayfly.Duration(d), err
	},
}

// asAge is a duration that may be zero.
var asAge = kind[mayfly.Duration]{
	matching(`^\+?(0|([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+)$`).with(schema{"type": []string{"string", "integer"}, "minimum": 0, "maximum": 0}),
	func(n *yamlfile.Node) (mayfly.Duration, error) {
		d, err := n.Duration()
		if err == nil && d < 0 {
			err = n.Errorf("%s is %s: it must be at least 0", n.Path, n.Text)
		}
		return mayfly.Duration(d), err
	},
}

// asList is one value or a list of them.
func asList[V any](item kind[V]) kind[[]V] {
	return kind[[]V]{oneOrMore(item.schema, schema{}), func(n *yamlfile.Node) ([]V, error) {
		var all []V
		for _, one := range n.Each() {
			v, err := item.read(one)
			if err != nil {
				return nil, err
			}
			all = append(all, v)
		}
		return all, nil
	}}
}

// oneOrMore is the schema of an item or of a list, for which more must hold.
func oneOrMore(item, more schema) schema {
	return schema{"anyOf": []schema{item, schema{"type": "array", "items": item}.with(more)}}
}

func readTexts(n *yamlfile.Node) (map[string]string, error) {
	fields, err := n.Map()
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, f := range fields {
		if all[f.Key.Text], err = f.Value.Str(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func readName[S ~string](n *yamlfile.Node) (S, error) {
	name, err := parsed(n, mayfly.ParseName)
	return S(name), err
}

// parsed reads text that parse understands.
func parsed[V any](n *yamlfile.Node, parse func(string) (V, error)) (v V, err error) {
	s, err := n.Str()
	if err != nil {
		return v, err
	}
	if v, err = parse(s); err != nil {
		return v, n.Wrap(err)
	}
	return v, nil
}

func readSize(n *yamlfile.Node) (int64, error) {
	b, err := parsed(n, func(s string) (b config.Bytes, err error) {
		err = b.UnmarshalText([]byte(s))
		return b, err
	})
	if err == nil && b <= 0 {
		err = n.Errorf("%s must be more than 0", n.Path)
	}
	return int64(b), err
}
