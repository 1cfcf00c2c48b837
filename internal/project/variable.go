package project

import (
	"strings"

	"github.com/mayfly-run/mayfly/internal/yamlfile"
)

// The rules of variables in values:
//
//	${NAME}            the variable's value; an error if it is not set
//	${NAME:-default}   default if it is not set or empty; up to the first }
//	$${                the characters ${
//
// Values are filled in after the YAML is parsed, so they cannot add keys or lines, and
// only once, so a ${ in a variable's value is literal.

// fill replaces the variables in all text below n.
func fill(n *yamlfile.Node, env func(string) (string, bool)) error {
	for _, item := range n.Items {
		if err := fill(item, env); err != nil {
			return err
		}
	}
	for _, f := range n.Fields {
		if err := fill(f.Value, env); err != nil {
			return err
		}
	}
	if n.Kind != yamlfile.String || !strings.Contains(n.Text, "${") {
		return nil
	}
	var b strings.Builder
	rest := n.Text
	for {
		before, after, found := strings.Cut(rest, "${")
		if !found {
			b.WriteString(rest)
			n.Text = b.String()
			return nil
		}
		if text, escaped := strings.CutSuffix(before, "$"); escaped {
			b.WriteString(text + "${")
			rest = after
			continue
		}
		b.WriteString(before)
		expr, after, closed := strings.Cut(after, "}")
		name, byDefault, hasDefault := strings.Cut(expr, ":-")
		if !closed || !isVariable(name) {
			return n.Errorf("${ in %s does not start a variable", n.Path).WithHint("write ${NAME} or ${NAME:-default}, or $${ for a literal ${")
		}
		value, ok := env(name)
		switch {
		case hasDefault && value == "":
			value = byDefault
		case !ok:
			return n.Errorf("variable %s in %s is not set", name, n.Path).
				WithHint("set it in the environment or in %s, write ${%s:-default}, or $${ for a literal ${", dotenvName, name)
		}
		b.WriteString(value)
		rest = after
	}
}

// isVariable reports whether s may name an environment variable.
func isVariable(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' && i > 0 {
			continue
		}
		return false
	}
	return s != ""
}
