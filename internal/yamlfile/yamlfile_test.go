package yamlfile_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/yamlfile"
)

func TestParseNamesThePlaceOfAnError(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, want string }{
		{"a quote without end", "a: 1\nb: \"x\n", "f.yaml:2:4: could not find end character of double-quoted text"},
		{"a bracket without end", "a: [1, 2\n", "f.yaml:1:4: sequence end token ']' not found"},
		{"a tab as indentation", "a:\n\tb: 1\n", "f.yaml:2:1: the line is indented with a tab"},
		{"a tab after spaces", "a:\n  b: 1\n  \tc: 2\n", "f.yaml:3:3: the line is indented with a tab"},
		{"a tab before a list", "a:\n\t- 1\n", "f.yaml:2:1: the line is indented with a tab"},
		{"a line without colon", "a: 1\nb\nc: 1\n", "f.yaml:2:1: non-map value is specified"},
		{"a key twice", "a: 1\nb: 2\na: 3\n", `f.yaml:3:1: duplicate key "a": first on line 1`},
		{"a key twice, deeper", "a:\n  b: 1\n  b: 2\n", `f.yaml:3:3: duplicate key "b" in a: first on line 2`},
		{"a key twice in braces", "a: {b: 1, b: 2}\n", `f.yaml:1:11: duplicate key "b" in a: first on line 1`},
		{"an empty key", "null: 1\n", "f.yaml:1:1: empty key"},
		{"a map as key", "? {a: 1}\n: 2\n", "f.yaml:2:1: found an invalid key for this map"},
		{"a key with a question mark", "? a\n: 2\n", "f.yaml:1:1: a key must be text on one line"},
		{"an alias without anchor", "a: *x\n", "f.yaml:1:4: alias *x has no anchor before it"},
		{"an alias of itself", "a: &x [*x]\n", "f.yaml:1:8: alias *x has no anchor before it"},
		{"a merged list", "a: &x [1]\nb:\n  <<: *x\n", "f.yaml:1:8: << merges maps only, not a number"},
		{"a merged text", "a:\n  <<: b\n", "f.yaml:2:7: << merges maps only, not text"},
		{"a tag", "a: !!binary aGk=\n", "f.yaml:1:4: tags are not allowed"},
		{"a second document", "a: 1\n---\nb: 1\n", "f.yaml:3:1: only one document is allowed, and a second starts here"},
		{"a NUL", "a: 1\nb: x\x00y\n", "f.yaml:2:5: control character U+0000"},
		{"bytes that are not UTF-8", "a: 1\nß: \xff\n", "f.yaml:2:4: not valid UTF-8"},
		{"a replacement character", "a: \uFFFD\n", "f.yaml:1:4: replacement character U+FFFD"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := yamlfile.Parse("f.yaml", []byte(tt.in))
			wantError(t, err, tt.want)
		})
	}
}

// Each of these took minutes, or the whole stack, before there was a bound.
func TestParseBoundsItsWork(t *testing.T) {
	t.Parallel()
	const size = yamlfile.MaxSize
	for _, tt := range []struct{ name, in, want string }{
		{"too many bytes", strings.Repeat("a", size+1), "f.yaml:1:1: the file is 2097153 bytes long; the limit is 2097152"},
		{"nested lists in brackets", strings.Repeat("[", size), "f.yaml:1:65: maps and lists are nested deeper than 64"},
		{"nested lists in dashes", strings.Repeat("- ", size/2), "f.yaml:1:129: maps and lists are nested deeper than 64"},
		{"nested maps in lines", staircase(1000), "f.yaml:65:65: maps and lists are nested deeper than 64"},
		{"empty items", strings.Repeat("-\n", size/2), "f.yaml:250001:1: the file has more than 250000 tokens"},
		{"empty keys", strings.Repeat(":\n", size/2), "f.yaml:12002:1: the map has more than 12000 keys"},
		{"keys", "a:\n" + strings.Repeat("  b: 1\n", size/8), "f.yaml:12002:3: the map has more than 12000 keys"},
		{"an alias bomb", bomb(24), "f.yaml:1:13: aliases expand to more than 250000 values"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := yamlfile.Parse("f.yaml", []byte(tt.in))
			wantError(t, err, tt.want)
		})
	}
}

// bomb returns lists of two aliases of the list before.
func bomb(lists int) string {
	text := "a0: &a0 [x, x]\n"
	for i := range lists {
		text += fmt.Sprintf("a%d: &a%[1]d [*a%[2]d, *a%[2]d]\n", i+1, i)
	}
	return text
}

func staircase(depth int) string {
	var b strings.Builder
	for i := range depth {
		fmt.Fprintf(&b, "%sa:\n", strings.Repeat(" ", i))
	}
	return b.String()
}

// Editors write a byte order mark, and 10,000 functions of a generator are a file too.
func TestParseReadsWhatPeopleHave(t *testing.T) {
	t.Parallel()
	if n := parse(t, "\ufeffa: 1\n"); n.Fields[0].Key.Text != "a" || n.Fields[0].Key.Column != 1 {
		t.Errorf("with a byte order mark the key is %+v", n.Fields[0].Key)
	}
	var text strings.Builder
	text.WriteString("functions:\n")
	for i := range 10_000 {
		fmt.Fprintf(&text, "  f-%d:\n    code: ./f.js\n    env: {A: b, C: d}\n", i)
	}
	if n := parse(t, text.String()).Get("functions"); len(n.Fields) != 10_000 {
		t.Errorf("%d of 10000 functions", len(n.Fields))
	}
}

func TestAliasesAndMergeKeysAreCopies(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, want string }{
		{"a scalar", "a: &x 1\nb: *x\n", `{"a":1,"b":1}`},
		{"a map", "a: &x\n  c: 1\nb: *x\n", `{"a":{"c":1},"b":{"c":1}}`},
		{"in a list", "a: [&x hi, *x]\n", `{"a":["hi","hi"]}`},
		{"a merge", "a: &x {c: 1, d: 2}\nb:\n  <<: *x\n  d: 3\n  e: 4\n", `{"a":{"c":1,"d":2},"b":{"d":3,"e":4,"c":1}}`},
		{"a merge of two", "a: &x {c: 1}\nb: &y {c: 2, d: 2}\ne: {<<: [*x, *y]}\n", `{"a":{"c":1},"b":{"c":2,"d":2},"e":{"c":1,"d":2}}`},
		{"a merge of a merge", "a: &x {c: 1}\nb: &y {<<: *x}\ne: {<<: *y}\n", `{"a":{"c":1},"b":{"c":1},"e":{"c":1}}`},
		{"an anchor again", "a: &x 1\nb: &x 2\nc: *x\n", `{"a":1,"b":2,"c":2}`},
		{"a quoted <<", "a: {\"<<\": 1}\n", `{"a":{"\u003c\u003c":1}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got, err := parse(t, tt.in).JSON(); err != nil || string(got) != tt.want {
				t.Errorf("%s, %v, want %s", got, err, tt.want)
			}
		})
	}
	merged := parse(t, "a: &x {b: 1}\nc: {<<: *x}\n").Get("c").Get("b")
	if merged.Path != "c.b" || merged.Line != 1 {
		t.Errorf("a merged key is %s in line %d", merged.Path, merged.Line)
	}
}

func TestParseRemembersWhereEverythingStands(t *testing.T) {
	t.Parallel()
	root := parse(t, `# a comment
project: shop
routes:
  top:
    http: [GET /x, "POST /y"]
    payload: |
      hi
      there
    "timeout" : 5s
    n: 0x10
`)
	var got []string
	var walk func(n *yamlfile.Node)
	walk = func(n *yamlfile.Node) {
		got = append(got, fmt.Sprintf("%d:%d %s is %s %q", n.Line, n.Column, n.Path, n.Kind, n.Text))
		for _, item := range n.Items {
			walk(item)
		}
		for _, f := range n.Fields {
			got = append(got, fmt.Sprintf("%d:%d key %s", f.Key.Line, f.Key.Column, f.Key.Text))
			walk(f.Value)
		}
	}
	walk(root)
	want := []string{
		`2:1  is a map ""`,
		`2:1 key project`,
		`2:10 project is text "shop"`,
		`3:1 key routes`,
		`4:3 routes is a map ""`,
		`4:3 key top`,
		`5:5 routes.top is a map ""`,
		`5:5 key http`,
		`5:11 routes.top.http is a list ""`,
		`5:12 routes.top.http[0] is text "GET /x"`,
		`5:20 routes.top.http[1] is text "POST /y"`,
		`6:5 key payload`,
		`6:14 routes.top.payload is text "hi\nthere\n"`,
		`9:5 key timeout`,
		`9:17 routes.top.timeout is text "5s"`,
		`10:5 key n`,
		`10:8 routes.top.n is a number "0x10"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestJSONHasNoInfinity(t *testing.T) {
	t.Parallel()
	for _, text := range []string{".inf", "-.inf", ".nan"} {
		_, err := parse(t, "a: {b: "+text+"}\n").JSON()
		wantError(t, err, "f.yaml:1:8: "+text+" (a.b) is not a JSON number")
	}
}

func TestAnEmptyFileIsNothing(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"", "\n\n", "# only a comment\n", "---\n"} {
		if n := parse(t, in); n.Kind != yamlfile.Null || n.Line != 1 {
			t.Errorf("Parse(%q) is %s in line %d, want nothing in line 1", in, n.Kind, n.Line)
		}
	}
}

func TestOnlyNamesTheNearestKey(t *testing.T) {
	t.Parallel()
	route := parse(t, "routes:\n  create-task:\n    subjcet: tasks\n").Get("routes").Get("create-task")
	err := route.Only("http", "subject", "service")
	wantError(t, err, `f.yaml:3:5: unknown key "subjcet" in routes.create-task`)
	if got := mayfly.HintOf(err); got != "did you mean subject?" {
		t.Errorf("hint %q", got)
	}
	if err := route.Only("subjcet"); err != nil {
		t.Errorf("Only refuses a known key: %v", err)
	}
}

func TestValuesHaveTypes(t *testing.T) {
	t.Parallel()
	root := parse(t, "s: hi\nn: 007\nb: true\nd: 1m30s\nl: [a, 1]\nm: {x: 1}\nnone:\n")
	str := func(n *yamlfile.Node) (any, error) { return n.Str() }
	boolean := func(n *yamlfile.Node) (any, error) { return n.Bool() }
	duration := func(n *yamlfile.Node) (any, error) { return n.Duration() }
	strs := func(n *yamlfile.Node) (any, error) { return n.Strs() }
	for _, tt := range []struct {
		name, key string
		read      func(*yamlfile.Node) (any, error)
		want      any
		err       string
	}{
		{"text", "s", str, "hi", ""},
		{"a number as it was written", "n", str, "007", ""},
		{"a bool as text", "b", str, "true", ""},
		{"a list is no text", "l", str, nil, "f.yaml:5:4: l must be text, not a list"},
		{"nothing is no text", "none", str, nil, "f.yaml:7:1: none must be text, not nothing"},
		{"a bool", "b", boolean, true, ""},
		{"text is no bool", "s", boolean, nil, "f.yaml:1:4: s must be true or false, not text"},
		{"a duration", "d", duration, 90 * time.Second, ""},
		{"text is not a duration", "s", duration, nil, `f.yaml:1:4: "hi" (s) is not a duration`},
		{"a number has no unit", "n", duration, nil, `f.yaml:2:4: "007" (n) is not a duration`},
		{"a map is not a duration", "m", duration, nil, "f.yaml:6:4: m must be a duration such as 5s, not a map"},
		{"a list of text", "l", strs, []string{"a", "1"}, ""},
		{"one for a list", "s", strs, []string{"hi"}, ""},
		{"a map in a list", "m", strs, nil, "f.yaml:6:4: m must be text, not a map"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := tt.read(root.Get(tt.key))
			if tt.err != "" {
				wantError(t, err, tt.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestJSONKeepsTheOrderOfKeys(t *testing.T) {
	t.Parallel()
	got, err := parse(t, "z: {type: object, required: [a, b]}\na: 1.5\nb: 0x10\nc: \"1\"\nd: True\ne:\nf: 18446744073709551615\n").JSON()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"z":{"type":"object","required":["a","b"]},"a":1.5,"b":16,"c":"1","d":true,"e":null,"f":18446744073709551615}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

var place = regexp.MustCompile(`^f\.yaml:[0-9]+:[0-9]+: [^\n]+$`)

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "a: 1", "routes:\n  a: {http: GET /x}\n", "- [a, {b: c}]\n", "a: |\n  x\n", "? a\n: b\n", "\"a\": 'it''s'\n", "a: >-\n  b\n",
		"%YAML 1.2\n---\na: 1\n...\n", "&a *a", "<<: 1", "a: &x {b: 1}\nc: {<<: *x}\n", "!!str 1", "a: .inf\nb: .nan\n", "a:\r\n  b: 1\r\n", "{a, b: }", "a: \"\\u12\"", "\ufeffa: 1\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := yamlfile.Parse("f.yaml", data)
		if err != nil {
			if mayfly.CodeOf(err) != mayfly.Invalid || !place.MatchString(err.Error()) || n != nil {
				t.Fatalf("code %v, error %q", mayfly.CodeOf(err), err)
			}
			return
		}
		if _, err := n.JSON(); err != nil && !place.MatchString(err.Error()) {
			t.Fatalf("error %q", err)
		}
	})
}

func parse(t *testing.T, text string) *yamlfile.Node {
	t.Helper()
	n, err := yamlfile.Parse("f.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || err.Error() != want {
		t.Fatalf("error %v\nwant  %s", err, want)
	}
	if code := mayfly.CodeOf(err); code != mayfly.Invalid {
		t.Errorf("code %v, want invalid", code)
	}
}
