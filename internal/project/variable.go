package project

import (
	"regexp"
	"strings"

	"github.com/mayfly-run/mayfly"
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
		value, fault := resolve(text, n.Path, env)
		if fault != nil && err == nil {
			err = n.Wrap(fault)
		}
		return value
	})
	return err
}

// resolve returns what a reference stands for in the value of what is called where.
func resolve(text, where string, env func(string) (string, bool)) (string, error) {
	if text == "$${" {
		return "${", nil
	}
	expr, closed := strings.CutSuffix(text[len("${"):], "}")
	name, byDefault, hasDefault := strings.Cut(expr, ":-")
	if !closed || !isVariable(name) {
		return "", mayfly.Errorf(mayfly.Invalid, "${ in %s does not start a variable", where).
			WithHint("write ${NAME} or ${NAME:-default}, or $${ for a literal ${")
	}
	value, ok := env(name)
	if hasDefault && value == "" {
		return byDefault, nil
	}
	if !ok {
		return "", mayfly.Errorf(mayfly.Invalid, "variable %s in %s is not set", name, where).
			WithHint("set it in the environment or in %s, write ${%s:-default}, or $${ for a literal ${", dotenvName, name)
	}
	return value, nil
}

// reference finds the variables in a text, and what stands for a literal ${.
var reference = regexp.MustCompile(`\$\$\{|\$\{[^}]*\}?`)

// isVariable reports whether s may name an environment variable.
var isVariable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString
