package project

import (
	"cmp"
	"regexp"
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
	var err error
	n.Text = reference.ReplaceAllStringFunc(n.Text, func(text string) string {
		if text == "$${" {
			return "${"
		}
		expr, closed := strings.CutSuffix(text[len("${"):], "}")
		name, byDefault, hasDefault := strings.Cut(expr, ":-")
		if !closed || !isVariable(name) {
			err = cmp.Or(err, error(n.Errorf("${ in %s does not start a variable", n.Path).WithHint("write ${NAME} or ${NAME:-default}, or $${ for a literal ${")))
		}
		value, ok := env(name)
		if hasDefault && value == "" {
			return byDefault
		}
		if !ok {
			err = cmp.Or(err, error(n.Errorf("variable %s in %s is not set", name, n.Path).
				WithHint("set it in the environment or in %s, write ${%s:-default}, or $${ for a literal ${", dotenvName, name)))
		}
		return value
	})
	return err
}

// reference finds the variables in a text, and what stands for a literal ${.
var reference = regexp.MustCompile(`\$\$\{|\$\{[^}]*\}?`)

// isVariable reports whether s may name an environment variable.
var isVariable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString
