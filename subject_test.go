package mayfly_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly"
)

func TestParseSubjectKeepsTheRules(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in string
		want     string // part of the error; "" for a valid subject
	}{
		{"one token", "tasks", ""},
		{"tokens", "orders.created.eu", ""},
		{"case and signs", "Orders.a-b_c:d/e", ""},
		{"UTF-8", "orders.größe", ""},
		{"dollar further on", "orders.$x", ""},
		{"a word that begins like ours", "mayflyer.x", ""},
		{"a function is public", "fn.hello", ""},
		{"as long as allowed", strings.Repeat("a", mayfly.MaxSubject), ""},
		{"empty", "", "a subject is empty"},
		{"one byte too long", strings.Repeat("a", mayfly.MaxSubject+1), "257 bytes long: at most 256"},
		{"JetStream's API", "$JS.API.STREAM.DELETE.ORDERS", `starts with "$"`},
		{"the server's events", "$SYS.REQ.SERVER.PING", `starts with "$"`},
		{"inboxes of other clients", "_INBOX.abc", `starts with "_"`},
		{"internal root", "mayfly", "internal to Mayfly"},
		{"internal", "mayfly.node.a.cancel", "internal to Mayfly"},
		{"star", "orders.*", "wildcard in token"},
		{"star inside a token", "orders.a*", "wildcard in token"},
		{"arrow", "orders.>", "wildcard in token"},
		{"two dots", "orders..created", "empty token"},
		{"dot first", ".orders", "empty token"},
		{"dot last", "orders.", "empty token"},
		{"space would end the subject", "orders created", "at byte 7"},
		{"CRLF would end the protocol line", "orders\r\nPUB $JS.API.X 0", "at byte 7"},
		{"NUL", "orders\x00", "at byte 7"},
		{"tab", "orders\tx", "at byte 7"},
		{"delete", "orders\x7f", "at byte 7"},
		{"not UTF-8", "orders\xff", "not UTF-8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := mayfly.ParseSubject(tt.in)
			wantInvalid(t, err, tt.want)
			if tt.want == "" && string(got) != tt.in {
				t.Errorf("ParseSubject(%q) = %q", tt.in, got)
			}
		})
	}
}

func TestParseSubjectPatternTakesWholeWildcards(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in string
		wild     bool
		want     string
	}{
		{"no wildcard", "orders.created", false, ""},
		{"star", "orders.*.eu", true, ""},
		{"arrow at the end", "orders.>", true, ""},
		{"both", "orders.*.>", true, ""},
		{"star first reaches everything", "*.created", false, "starts with a wildcard"},
		{"star alone", "*", false, "starts with a wildcard"},
		{"arrow alone", ">", false, "starts with a wildcard"},
		{"arrow in the middle", "orders.>.eu", false, "wildcard in token"},
		{"star inside a token", "orders.a*", false, "wildcard in token"},
		{"reserved", "$JS.>", false, `starts with "$"`},
		{"internal", "mayfly.>", false, "internal to Mayfly"},
		{"empty", "", false, "a subject is empty"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := mayfly.ParseSubjectPattern(tt.in)
			wantInvalid(t, err, tt.want)
			if tt.want != "" {
				return
			}
			if got.String() != tt.in || got.Wild() != tt.wild {
				t.Errorf("ParseSubjectPattern(%q) is %q, wild %t; want wild %t", tt.in, got, got.Wild(), tt.wild)
			}
		})
	}
}

func TestFillPutsOneValueIntoOneToken(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		pattern string
		values  []string
		want    mayfly.Subject
		code    mayfly.Code // of the error, when want is ""
	}{
		{"no wildcard, no value", "orders.created", nil, "orders.created", 0},
		{"star", "orders.*", []string{"7"}, "orders.7", 0},
		{"two stars", "orders.*.items.*", []string{"7", "2"}, "orders.7.items.2", 0},
		{"arrow takes one", "orders.>", []string{"7"}, "orders.7", 0},
		{"arrow takes all", "orders.>", []string{"7", "items", "2"}, "orders.7.items.2", 0},
		{"star, then arrow", "orders.*.>", []string{"7", "items", "2"}, "orders.7.items.2", 0},
		{"too few", "orders.*.*", []string{"7"}, "", mayfly.NotFound},
		{"none for an arrow", "orders.*.>", []string{"7"}, "", mayfly.NotFound},
		{"none at all", "orders.>", nil, "", mayfly.NotFound},
		{"too many", "orders.*", []string{"7", "8"}, "", mayfly.NotFound},
		{"a value for no wildcard", "orders.created", []string{"7"}, "", mayfly.NotFound},
		{"a dot would be two tokens", "orders.*", []string{"7.8"}, "", mayfly.Invalid},
		{"a dot under an arrow too", "orders.>", []string{"7", "8.9"}, "", mayfly.Invalid},
		{"an empty value", "orders.*", []string{""}, "", mayfly.Invalid},
		{"a star would ask everybody", "orders.*", []string{"*"}, "", mayfly.Invalid},
		{"an arrow would ask everybody", "orders.>", []string{">"}, "", mayfly.Invalid},
		{"a space", "orders.*", []string{"a b"}, "", mayfly.Invalid},
		{"a line", "orders.*", []string{"a\r\nPUB x 0"}, "", mayfly.Invalid},
		{"too long", "orders.*", []string{strings.Repeat("a", mayfly.MaxSubject)}, "", mayfly.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := mustSubjectPattern(t, tt.pattern).Fill(tt.values)
			if tt.want != "" && err != nil {
				t.Fatal(err)
			}
			if tt.want == "" && (err == nil || mayfly.CodeOf(err) != tt.code) {
				t.Fatalf("Fill(%q) = %q, %v; want an error with code %s", tt.values, got, err, tt.code)
			}
			if got != tt.want {
				t.Errorf("Fill(%q) = %q, want %q", tt.values, got, tt.want)
			}
		})
	}
}

func TestFillLeavesTheValuesAlone(t *testing.T) {
	t.Parallel()
	values := []string{"7", "8"}
	if _, err := mustSubjectPattern(t, "orders.*.>").Fill(values); err != nil {
		t.Fatal(err)
	}
	if values[0] != "7" || values[1] != "8" {
		t.Errorf("values are now %q", values)
	}
}

func FuzzParseSubject(f *testing.F) {
	for _, s := range [][2]string{
		{"orders.*", "7"},
		{"orders.*.>", "7/8/9"},
		{"orders.>", "*"},
		{"orders", ""},
		{"$JS.>", "x"},
		{"mayfly.x", "."},
		{"a..b", "\xff"},
		{"a.>.b", ">"},
		{strings.Repeat("a.", 127) + "*", "abc"},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, s, path string) {
		subject, err := mayfly.ParseSubject(s)
		if err == nil {
			wantPublishable(t, subject)
		} else {
			wantInvalidLine(t, err)
		}
		pattern, patternErr := mayfly.ParseSubjectPattern(s)
		if err == nil && (patternErr != nil || pattern.Wild()) {
			t.Fatalf("subject %q is a pattern with wild %t: %v", s, pattern.Wild(), patternErr)
		}
		if patternErr != nil {
			wantInvalidLine(t, patternErr)
			return
		}
		if pattern.String() != s {
			t.Fatalf("ParseSubjectPattern(%q).String() = %q", s, pattern)
		}
		filled, err := pattern.Fill(strings.Split(path, "/"))
		if err != nil {
			return
		}
		wantPublishable(t, filled)
		if !matches(strings.Split(s, "."), strings.Split(string(filled), ".")) {
			t.Fatalf("%q filled with %q is %q, which it does not match", s, path, filled)
		}
	})
}

func ExampleParseSubject() {
	_, err := mayfly.ParseSubject("$JS.API.STREAM.DELETE.ORDERS")
	fmt.Println(err)
	// Output: subject "$JS.API.STREAM.DELETE.ORDERS" starts with "$", which NATS reserves
}

func ExampleSubjectPattern_Fill() {
	pattern, err := mayfly.ParseSubjectPattern("orders.*.items.>")
	if err != nil {
		panic(err)
	}
	fmt.Println(pattern.Fill([]string{"7", "2", "price"}))
	fmt.Println(pattern.Fill([]string{"7"}))
	// Output:
	// orders.7.items.2.price <nil>
	//  the path has too few segments for subject "orders.*.items.>"
}

// wantPublishable checks the promise of Subject in terms of the protocol, not of
// its parser.
func wantPublishable(t *testing.T, s mayfly.Subject) {
	t.Helper()
	if len(s) > mayfly.MaxSubject {
		t.Fatalf("subject of %d bytes", len(s))
	}
	tokens := strings.Split(string(s), ".")
	for _, token := range tokens {
		if token == "" || strings.ContainsAny(token, "*> \t\r\n\x00") {
			t.Fatalf("subject %q has the token %q", s, token)
		}
	}
	if first := tokens[0]; first == "mayfly" || strings.HasPrefix(first, "$") || strings.HasPrefix(first, "_") {
		t.Fatalf("subject %q is reserved", s)
	}
}

// matches is NATS's matching of a subject to a pattern, by tokens.
func matches(pattern, subject []string) bool {
	for i, token := range pattern {
		if i >= len(subject) {
			return false
		}
		if token == ">" {
			return true
		}
		if token != "*" && token != subject[i] {
			return false
		}
	}
	return len(pattern) == len(subject)
}

func mustSubjectPattern(t *testing.T, s string) mayfly.SubjectPattern {
	t.Helper()
	p, err := mayfly.ParseSubjectPattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
