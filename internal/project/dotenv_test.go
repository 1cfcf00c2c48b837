package project

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mayfly-run/mayfly"
)

func TestDotenvReadsEachFormOfAValue(t *testing.T) {
	t.Parallel()
	env := func(name string) (string, bool) { return "outside", name == "OUTSIDE" || name == "H" }
	got, err := parseDotenv(".env", strings.Join([]string{
		"# a comment", "", "A=plain text  ", "B=with#hash # and comment", "C=# only a comment", "D=", " export E = e",
		`F='as $it \n stands' # comment`, `G="a\n\t\"\\\$\x"`, "H=first", "H=second\r",
		`I="-----BEGIN-----`, "abc=\r", `-----END-----" # a key`, "J='one", "", "three'", `K="\"\`, `"`, `L="x"  `,
	}, "\n"), env)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"A": "plain text", "B": "with#hash", "C": "", "D": "", "E": "e",
		"F": `as $it \n stands`, "G": "a\n\t\"\\$\\x", "H": "second",
		"I": "-----BEGIN-----\nabc=\n-----END-----", "J": "one\n\nthree", "K": "\"\\\n", "L": "x",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDotenvHasTheVariablesOfAManifest(t *testing.T) {
	t.Parallel()
	env := func(name string) (string, bool) { return "outside", name == "OUTSIDE" || name == "B" }
	got, err := parseDotenv(".env", strings.Join([]string{
		"A=a", "B=b", "C=${A}-${B}/${OUTSIDE}", `D="${A}\n\${A}\\${A}"`, "E='${A}'", "F=${NONE:-none} # ${NONE}", `G=$${A} $A \${A}`, "A=${A}a",
	}, "\n"), env)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"A": "aa", "B": "b", "C": "a-outside/outside", "D": "a\n${A}\\a", "E": "${A}", "F": "none", "G": `${A} $A \${A}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDotenvNamesTheLineOfAMistake(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, want string }{
		{"no =", "A=1\nB\n", ".env:2:1: not of the form NAME=value"},
		{"no name", "=1\n", ".env:1:1: not of the form NAME=value"},
		{"a bad name", "1A=1\n", ".env:1:1: not of the form NAME=value"},
		{"an unknown variable", "A=1\nB=${C}\nC=1\n", ".env:2:1: variable C in B is not set"},
		{"a variable without a name", "B=\"${}\"\n", ".env:1:1: ${ in B does not start a variable"},
		{"after a value of three lines", "A='1\n2\n3'\nB\n", ".env:4:1: not of the form NAME=value"},
		{"a quote without end", "A='1\nB=2\n", ".env:1:1: A has an unclosed quote, or text after the closing one"},
		{"text after a quote", `A="1"2`, ".env:1:1: A has an unclosed quote, or text after the closing one"},
		{"an escape at the end", `A="\`, ".env:1:1: A has an unclosed quote, or text after the closing one"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := parseDotenv(".env", tt.in, func(string) (string, bool) { return "", false })
			if err == nil || err.Error() != tt.want || mayfly.CodeOf(err) != mayfly.Invalid {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

func FuzzDotenv(f *testing.F) {
	f.Add("A=1\nexport B='2' # c\nC=\"\\n\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		vars, err := parseDotenv(".env", text, func(string) (string, bool) { return "", false })
		if err != nil && (vars != nil || !strings.HasPrefix(err.Error(), ".env:")) {
			t.Fatalf("%v, error %q", vars, err)
		}
		for name := range vars {
			if !isVariable(name) {
				t.Fatalf("name %q", name)
			}
		}
	})
}
