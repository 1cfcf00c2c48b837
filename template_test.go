package mayfly_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly"
)

func TestFillMakesThePayload(t *testing.T) {
	t.Parallel()
	values := map[string]string{
		"n": "3", "user": "Ada", "quote": `a "b" \c`, "yes": "true", "nothing": "null", "octal": "017", "array": "[1]",
		"object": `{"admin":true}`, "padded": " 1", "line": "a\nb", "empty": "", "half": "\xff",
	}
	for _, tt := range []struct{ name, template, want string }{
		{"empty", "", ""},
		{"text", "help please", "help please"},
		{"one value alone is as it is", "{quote}", `a "b" \c`},
		{"one value alone, bytes included", "{half}", "\xff"},
		{"values in text", "{user} wants {n}", "Ada wants 3"},
		{"a value that is not there is empty", "[{missing}", "[null"},
		{"a value that is not there in text", "<{missing}>", "<>"},
		{"other braces are text", "a {} {1} {a-b} { n } {n", "a {} {1} {a-b} { n } {n"},
		{"the same value twice", "{n}{n}", "33"},
		{"nested braces", "{{n}}", "{3}"},
		{"number", `{"n":{n}}`, `{"n":3}`},
		{"word", `{"n":{user}}`, `{"n":"Ada"}`},
		{"true", `{"n":{yes}}`, `{"n":true}`},
		{"null", `{"n":{nothing}}`, `{"n":null}`},
		{"empty value", `{"n":{empty}}`, `{"n":""}`},
		{"missing value", `{"n":{missing}}`, `{"n":null}`},
		{"missing value in quotes", `{"n":"{missing}"}`, `{"n":""}`},
		{"number in quotes", `{"n":"{n}"}`, `{"n":"3"}`},
		{"quotes are escaped", `{"n":"<{quote}"}`, `{"n":"<a \"b\" \\c"}`},
		{"quotes are escaped outside of quotes too", `{"n":{quote}}`, `{"n":"a \"b\" \\c"}`},
		{"lines are escaped", `{"n":"{line}"}`, `{"n":"a\nb"}`},
		{"an object is text", `{"n":{object}}`, `{"n":"{\"admin\":true}"}`},
		{"an array is text", `[{array}]`, `["[1]"]`},
		{"no JSON number", `[{octal}]`, `["017"]`},
		{"a number with a space is text", `[{padded}]`, `[" 1"]`},
		{"bytes that are not UTF-8 are replaced", `["{half}"]`, `["\ufffd"]`},
		{"an escaped quote does not end the string", `["\"{quote}"]`, `["\"a \"b\" \\c"]`},
		{"white space first", " \n{\"n\":{quote}}", " \n{\"n\":\"a \\\"b\\\" \\\\c\"}"},
		{"array of values", `[{n},"{user}"]`, `[3,"Ada"]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := fill(mustTemplate(t, tt.template), values)
			if string(got) != tt.want {
				t.Errorf("%s = %s, want %s", tt.template, got, tt.want)
			}
		})
	}
}

func TestTemplateJSONTakesAllValues(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		values map[string]string
		want   string
	}{
		{"no map", nil, `{}`},
		{"no value", map[string]string{}, `{}`},
		{"values", map[string]string{"user": `"Ada"`, "n": "3"}, `{"n":"3","user":"\"Ada\""}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := fill(mustTemplate(t, "json"), tt.values); string(got) != tt.want {
				t.Errorf("Fill = %s, want %s", got, tt.want)
			}
		})
	}
}

func TestNamesAreThoseOfThePlaceholders(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		template string
		want     []string
	}{
		{"", nil},
		{"json", nil},
		{"{a}", []string{"a"}},
		{`{"x":{b},"y":"{a}{b}"}`, []string{"b", "a"}},
		{"{} {1}", nil},
	} {
		if got := mustTemplate(t, tt.template).Names(); !slices.Equal(got, tt.want) {
			t.Errorf("Names of %q = %q, want %q", tt.template, got, tt.want)
		}
	}
}

func TestTheZeroTemplateMakesAnEmptyPayload(t *testing.T) {
	t.Parallel()
	if got := fill(mayfly.Template{}, map[string]string{"a": "b"}); len(got) != 0 {
		t.Errorf("Fill = %q", got)
	}
}

func TestParseTemplateRefusesATemplateThatIsTooLong(t *testing.T) {
	t.Parallel()
	if _, err := mayfly.ParseTemplate(strings.Repeat("a", mayfly.MaxTemplate)); err != nil {
		t.Error(err)
	}
	_, err := mayfly.ParseTemplate(strings.Repeat("a", mayfly.MaxTemplate+1))
	wantInvalid(t, err, "at most 65536")
}

// No value may change the shape of the JSON that a template's author wrote. A
// template counts as JSON when it is JSON with a word, with a number and without
// any value: then it must stay so with everything.
func FuzzParseTemplate(f *testing.F) {
	for _, template := range []string{
		`{"n":{a}}`, `{"n":"{a}"}`, `[{a},{b},"{a}{b}"]`, `{"{a}":{b}}`, ` {"x":"\"{a}\\{b}"}`, `["\u00{a}"]`, `{"n":1{a}}`,
		`{{a}:1}`, `[{a}{b}]`, "{a}", "json", "{a} {b}", `"{a}"`, "[a}", `{"n":"{a}`, "",
	} {
		for _, value := range []string{"", "x", "1", "-0", "1e9", "tru", `"`, `\`, `","admin":"`, `1,"admin":true`, "[1]", "\xff\x00", "\u2028", " 1"} {
			f.Add(template, value, "1")
		}
	}
	f.Fuzz(func(t *testing.T, text, a, b string) {
		template, err := mayfly.ParseTemplate(text)
		if err != nil {
			wantInvalidLine(t, err)
			return
		}
		if template.String() != text {
			t.Fatalf("String() = %q, want %q", template, text)
		}
		with := func(a, b string) []byte {
			names, values := template.Names(), map[string]string{}
			for i, name := range names {
				values[name] = []string{a, b}[i%2]
			}
			return fill(template, values)
		}
		hostile := with(a, b)
		if !startsLikeJSON(text) {
			return
		}
		word, errWord := shape(with("x", "x"))
		number, errNumber := shape(with("1", "1"))
		_, errNone := shape(fill(template, nil))
		if errWord != nil || errNumber != nil || errNone != nil {
			return
		}
		if number != word {
			t.Fatalf("%q has the shape %s with words and %s with numbers", text, word, number)
		}
		got, err := shape(hostile)
		if err != nil {
			t.Fatalf("%q with %q and %q is no JSON but %q: %v", text, a, b, hostile, err)
		}
		if got != word {
			t.Fatalf("%q with %q and %q is %q, of the shape %s instead of %s", text, a, b, hostile, got, word)
		}
	})
}

func ExampleTemplate_Fill() {
	template, err := mayfly.ParseTemplate(`{"n":{n},"by":"{user}"}`)
	if err != nil {
		panic(err)
	}
	for _, user := range []string{"Ada", `","admin":"yes`} {
		values := map[string]string{"n": "3", "user": user}
		payload := template.Fill(
			func(name string) (string, bool) { v, ok := values[name]; return v, ok },
			func() map[string]string { return values },
		)
		fmt.Printf("%s\n", payload)
	}
	// Output:
	// {"n":3,"by":"Ada"}
	// {"n":3,"by":"\",\"admin\":\"yes"}
}

// startsLikeJSON says in a second way which templates are taken for JSON.
func startsLikeJSON(text string) bool {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "[") {
		return true
	}
	name, _, closed := strings.Cut(strings.TrimPrefix(text, "{"), "}")
	identifier := closed && name != "" && name != "_" && strings.Trim(name, "_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == "" &&
		!strings.ContainsAny(name[:1], "0123456789")
	return strings.HasPrefix(text, "{") && !identifier
}

// shape returns the brackets of one JSON value with a dot for every scalar
// between them, or an error for what is not JSON.
func shape(b []byte) (string, error) {
	if !json.Valid(b) {
		return "", errors.New("not valid JSON")
	}
	var s strings.Builder
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return s.String(), nil
		}
		if err != nil {
			return "", err
		}
		if bracket, ok := token.(json.Delim); ok {
			s.WriteString(bracket.String())
		} else {
			s.WriteByte('.')
		}
	}
}

func fill(template mayfly.Template, values map[string]string) []byte {
	return template.Fill(
		func(name string) (string, bool) { v, ok := values[name]; return v, ok },
		func() map[string]string { return values },
	)
}

func mustTemplate(t *testing.T, s string) mayfly.Template {
	t.Helper()
	template, err := mayfly.ParseTemplate(s)
	if err != nil {
		t.Fatal(err)
	}
	return template
}
