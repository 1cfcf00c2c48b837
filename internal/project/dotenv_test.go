package project

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mayfly-run/mayfly"
)

func TestDotenvReadsEachFormOfAValue(t *testing.T) {
	t.Parallel()
	got, err := parseDotenv(".env", strings.Join([]string{
		"# a comment", "", "A=plain text  ", "B=with#hash # and comment", "C=# only a comment", "D=", " export E = e",
		`F='as $it \n stands' # comment`, `G="a\n\t\"\\\$\x"`, "H=first", "H=second\r",
	}, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"A": "plain text", "B": "with#hash", "C": "", "D": "", "E": "e",
		"F": `as $it \n stands`, "G": "a\n\t\"\\$\\x", "H": "second",
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
		{"a quote without end", "A='1\n'\n", ".env:1:1: A has an unclosed quote, or text after the closing one"},
		{"text after a quote", `A="1"2`, ".env:1:1: A has an unclosed quote, or text after the closing one"},
		{"an escape at the end", `A="\`, ".env:1:1: A has an unclosed quote, or text after the closing one"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := parseDotenv(".env", tt.in)
			if err == nil || err.Error() != tt.want || mayfly.CodeOf(err) != mayfly.Invalid {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

func FuzzDotenv(f *testing.F) {
	f.Add("A=1\nexport B='2' # c\nC=\"\\n\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		vars, err := parseDotenv(".env", text)
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
