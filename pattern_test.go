package mayfly_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly"
)

func TestParsePatternReadsItsParts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in string
		want     mayfly.Pattern
		text     string // of String, when it differs from in
	}{
		{"a path", "/createTask", mayfly.Pattern{Path: "/createTask"}, ""},
		{"the root", "/", mayfly.Pattern{Path: "/"}, ""},
		{"the root alone", "GET /{$}", mayfly.Pattern{Method: "GET", Path: "/{$}"}, ""},
		{"method", "POST /orders", mayfly.Pattern{Method: "POST", Path: "/orders"}, ""},
		{"method with a dash", "M-SEARCH /x", mayfly.Pattern{Method: "M-SEARCH", Path: "/x"}, ""},
		{"spaces after the method", "GET \t /x", mayfly.Pattern{Method: "GET", Path: "/x"}, "GET /x"},
		{"host", "shop.example/x", mayfly.Pattern{Host: "shop.example", Path: "/x"}, ""},
		{"method and host", "GET shop.example/x", mayfly.Pattern{Method: "GET", Host: "shop.example", Path: "/x"}, ""},
		{"localhost", "localhost/x", mayfly.Pattern{Host: "localhost", Path: "/x"}, ""},
		{"a value", "GET /orders/{id}", mayfly.Pattern{Method: "GET", Path: "/orders/{id}", Params: []string{"id"}}, ""},
		{"values in order", "/{b}/x/{a}", mayfly.Pattern{Path: "/{b}/x/{a}", Params: []string{"b", "a"}}, ""},
		{"rest", "/files/{path...}", mayfly.Pattern{Path: "/files/{path...}", Params: []string{"path"}}, ""},
		{"slash at the end", "/files/", mayfly.Pattern{Path: "/files/"}, ""},
		{"value and slash", "/files/{id}/", mayfly.Pattern{Path: "/files/{id}/", Params: []string{"id"}}, ""},
		{"escaped path", "/a%20b", mayfly.Pattern{Path: "/a%20b"}, ""},
		{"UTF-8", "/größe", mayfly.Pattern{Path: "/größe"}, ""},
		{"underscore in a name", "/{_id}", mayfly.Pattern{Path: "/{_id}", Params: []string{"_id"}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := mayfly.ParsePattern(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("ParsePattern(%q) = %+v, want %+v", tt.in, got, tt.want)
			}
			text := tt.text
			if text == "" {
				text = tt.in
			}
			if got.String() != text {
				t.Errorf("String() = %q, want %q", got, text)
			}
		})
	}
}

func TestParsePatternRefusesWhatNoRequestReaches(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, want string }{
		{"empty", "", "the path must start with /"},
		{"no slash", "orders", "the path must start with /"},
		{"no first slash", "orders/{id}", "the path must start with /"},
		{"no first slash after a method", "GET orders/{id}", "the path must start with /"},
		{"method alone", "GET", "the path must start with /"},
		{"method and nothing", "GET ", "the path must start with /"},
		{"lower-case method", "get /x", `"get" is not an HTTP method`},
		{"space first", " /x", `"" is not an HTTP method`},
		{"two methods", "GET POST /x", "the host has a brace or a space"},
		{"brace in the host", "{host}/x", "the host has a brace or a space"},
		{"query", "/x?a=b", "query values need no pattern"},
		{"fragment", "/x#y", "has a space, ? or #"},
		{"space", "/a b", `"/a" is not an HTTP method`},
		{"space after a method", "GET /a b", "has a space, ? or #"},
		{"empty segment", "/a//b", "empty segment"},
		{"dot", "/a/./b", "empty segment, . or .."},
		{"dots", "/a/..", "empty segment, . or .."},
		{"half a segment", "/a/x{id}", "must be {name}, with nothing around it"},
		{"two values in a segment", "/a/{x}-{y}", "is not a valid name"},
		{"not closed", "/a/{id", "must be {name}, with nothing around it"},
		{"not opened", "/a/id}", "must be {name}, with nothing around it"},
		{"no name", "/a/{}", `"" is not a valid name`},
		{"no name for a rest", "/a/{...}", `"" is not a valid name`},
		{"blank name", "/a/{_}", `"_" is not a valid name`},
		{"digit first", "/a/{1a}", `"1a" is not a valid name`},
		{"dash in a name", "/a/{a-b}", `"a-b" is not a valid name`},
		{"name that no header takes", "/a/{größe}", "is not a valid name"},
		{"end mark in the middle", "/a/{$}/b", `"$" is not a valid name`},
		{"rest in the middle", "/a/{x...}/b", "must be the last segment"},
		{"twice", "/{id}/{id}", "{id} appears twice"},
		{"line", "/a\r\nb", "control character"},
		{"NUL", "/a\x00", "control character"},
		{"not UTF-8", "/a\xff", "not UTF-8"},
		{"too long", "/" + strings.Repeat("a", mayfly.MaxPattern), "513 bytes long, at most 512"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := mayfly.ParsePattern(tt.in)
			wantInvalid(t, err, tt.want)
			if mayfly.HintOf(err) == "" {
				t.Error("the error has no hint")
			}
		})
	}
}

func TestValuesAreThoseOfTheRequest(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, pattern, target string
		want                  []string
	}{
		{"none", "GET /x", "/x", nil},
		{"one", "GET /orders/{id}", "/orders/7", []string{"7"}},
		{"in the pattern's order", "GET /{b}/{a}", "/1/2", []string{"1", "2"}},
		{"decoded", "GET /orders/{id}", "/orders/a%20b", []string{"a b"}},
		{"a slash that was escaped stays one value", "GET /orders/{id}", "/orders/a%2Fb", []string{"a/b"}},
		{"rest", "GET /files/{path...}", "/files/a/b/c", []string{"a", "b", "c"}},
		{"value, then rest", "GET /{id}/{path...}", "/7/a/b", []string{"7", "a", "b"}},
		{"no rest", "GET /files/{path...}", "/files/", nil},
		{"a slash at the end is an empty value", "GET /files/{path...}", "/files/a/", []string{"a", ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := mayfly.ParsePattern(tt.pattern)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			mux := http.NewServeMux()
			mux.HandleFunc(p.String(), func(_ http.ResponseWriter, r *http.Request) { got = p.Values(r) })
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, tt.target, nil))
			if w.Code != http.StatusOK {
				t.Fatalf("GET %s = %d", tt.target, w.Code)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("Values = %q, want %q", got, tt.want)
			}
		})
	}
}

// What ParsePattern accepts http.ServeMux must accept too: it panics otherwise,
// and patterns come from the metadata of any service on the bus.
func FuzzParsePattern(f *testing.F) {
	for _, s := range []string{
		"", "/", "GET /", "GET /orders/{id}", "/{a}/{b...}", "/{$}", "shop.example/x/", "CONNECT /x", "GET  \t/x",
		"/a//b", "/%2e/x", "/%", "/{_}", "/{a}{b}", "{h}/x", "M-SEARCH a:80/x", "- /", "/\x00", "/\xff",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := mayfly.ParsePattern(s)
		if err != nil {
			wantInvalidLine(t, err)
			return
		}
		http.NewServeMux().Handle(s, http.NotFoundHandler())
		http.NewServeMux().Handle(p.String(), http.NotFoundHandler())
		again, err := mayfly.ParsePattern(p.String())
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Fatalf("%q is %+v; its text %q is %+v, %v", s, p, p.String(), again, err)
		}
	})
}

func ExampleParsePattern() {
	p, err := mayfly.ParsePattern("GET /orders/{id}")
	if err != nil {
		panic(err)
	}
	fmt.Println(p.Method, p.Path, p.Params)

	_, err = mayfly.ParsePattern("GET /orders/{id}/{id}")
	fmt.Println(err)
	fmt.Println("hint:", mayfly.HintOf(err))
	// Output:
	// GET /orders/{id} [id]
	// pattern "GET /orders/{id}/{id}": {id} appears twice
	// hint: write it like "GET /orders/{id}"
}

func ExamplePattern_Values() {
	p, err := mayfly.ParsePattern("GET /files/{owner}/{path...}")
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc(p.String(), func(_ http.ResponseWriter, r *http.Request) { fmt.Println(p.Values(r)) })
	mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/files/ada/notes/1843", nil))
	// Output: [ada notes 1843]
}

func TestPatternKnowsReservedPaths(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern string
		want    bool
	}{
		{"GET /svc", true},
		{"/fn/{name}", true},
		{"/%66n/x", true},
		{"example.com/jobs/1", true},
		{"GET /readyz", true},
		{"/", false},
		{"/{fn}", false},
		{"/orders/svc", false},
		{"/service", false},
	} {
		p, err := mayfly.ParsePattern(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Reserved(); got != tt.want {
			t.Errorf("%q reserved = %v, want %v", tt.pattern, got, tt.want)
		}
	}
}
