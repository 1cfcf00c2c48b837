package mayfly_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly"
)

func TestParseNameKeepsTheRules(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in string
		want     string // part of the error; "" for a valid name
	}{
		{"letters", "hello", ""},
		{"digit first", "7up", ""},
		{"dash inside", "send-mail", ""},
		{"dash last", "send-", ""},
		{"as long as allowed", strings.Repeat("a", mayfly.MaxName), ""},
		{"empty", "", "a name is empty"},
		{"one byte too long", strings.Repeat("a", mayfly.MaxName+1), "64 bytes long: at most 63"},
		{"dash first", "-hello", `"-" at byte 1`},
		{"capital", "heLlo", `"L" at byte 3`},
		{"dot would be two tokens", "a.b", `"." at byte 2`},
		{"slash would be two path segments", "a/b", `"/" at byte 2`},
		{"wildcard", "a*", `"*" at byte 2`},
		{"underscore", "a_b", `"_" at byte 2`},
		{"space", "a b", `" " at byte 2`},
		{"NUL", "a\x00", `"\x00" at byte 2`},
		{"no ASCII letter", "café", "\"é\" at byte 4"},
		{"no text", "a\xff", `"\xff" at byte 2`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := mayfly.ParseName(tt.in)
			wantInvalid(t, err, tt.want)
			if tt.want == "" && string(got) != tt.in {
				t.Errorf("ParseName(%q) = %q", tt.in, got)
			}
		})
	}
}

func TestErrorsAboutHugeInputAreShort(t *testing.T) {
	t.Parallel()
	huge := strings.Repeat("A", 1<<20)
	for _, tt := range []struct {
		name string
		err  error
	}{
		{"name", second(mayfly.ParseName(huge))},
		{"subject", second(mayfly.ParseSubject(huge))},
		{"pattern", second(mayfly.ParsePattern(huge))},
		{"template", second(mayfly.ParseTemplate(huge))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.err == nil {
				t.Fatal("a megabyte was accepted")
			}
			if n := len(tt.err.Error()); n > 300 {
				t.Errorf("the error is %d bytes long", n)
			}
		})
	}
}

func TestRefIsReadable(t *testing.T) {
	t.Parallel()
	for want, ref := range map[string]mayfly.Ref{"hello": {Name: "hello"}, "hello@7": {Name: "hello", Revision: 7}} {
		if got := ref.String(); got != want {
			t.Errorf("String() = %q, want %q", got, want)
		}
	}
}

// The rule again, in another notation: the two must agree on every input.
var namePattern = regexp.MustCompile(`\A[a-z0-9][a-z0-9-]{0,62}\z`)

func FuzzParseName(f *testing.F) {
	for _, s := range []string{"", "hello", "-", "a-", "7", "A", "a.b", "a/../b", "\xff", strings.Repeat("a", 64)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := mayfly.ParseName(s)
		if ok := namePattern.MatchString(s); ok != (err == nil) {
			t.Fatalf("ParseName(%q): %v; the expression says %t", s, err, ok)
		}
		if err != nil {
			wantInvalidLine(t, err)
			return
		}
		if string(name) != s {
			t.Fatalf("ParseName(%q) = %q", s, name)
		}
		if _, err := mayfly.ParseSubject(mayfly.FunctionSubject(name)); err != nil {
			t.Fatalf("a name is no subject token: %v", err)
		}
	})
}

func ExampleParseName() {
	_, err := mayfly.ParseName("Send mail")
	fmt.Println(err)
	// Output: name "Send mail" has "S" at byte 1: use a-z, 0-9 and - (not first)
}

// second returns the error of a call that also returns a value.
func second[T any](_ T, err error) error { return err }
