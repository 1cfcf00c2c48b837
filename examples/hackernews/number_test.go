package main

import (
	"strings"
	"testing"
)

func TestNumbers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in string
		want     int64
		code     int
	}{
		{"bare", "3", 3, 0},
		{"with a line's end", " 3\n", 3, 0},
		{"in an object", `{"n":3}`, 3, 0},
		{"in an object with more", `{"a":[],"n":3}`, 3, 0},
		{"large", "9223372036854775807", 9223372036854775807, 0},
		{"too large", "9223372036854775808", 0, 400},
		{"empty", "", 0, 400},
		{"zero", "0", 0, 400},
		{"negative", "-1", 0, 400},
		{"with a sign", "+3", 0, 400},
		{"a fraction", "3.0", 0, 400},
		{"a word", "three", 0, 400},
		{"hexadecimal", "0x3", 0, 400},
		{"a string", `{"n":"3"}`, 0, 400},
		{"nothing", `{"n":null}`, 0, 400},
		{"under another key", `{"id":3}`, 0, 400},
		{"in a list", `[3]`, 0, 400},
		{"half an object", `{"n":3`, 0, 400},
		{"huge", strings.Repeat("9", 1<<20), 0, 400},
		{"no text", "\xff\x00", 0, 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseNumber([]byte(tt.in), "n")
			wantFault(t, err, tt.code)
			if got != tt.want {
				t.Errorf("number = %d, want %d", got, tt.want)
			}
			if err != nil && len(err.Error()) > 400 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

func FuzzNumber(f *testing.F) {
	for _, in := range []string{"3", `{"n":3}`, "", "-1", `{"n":{}}`, `{"n":3}{}`} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		n, err := parseNumber(in, "n")
		if (err == nil) != (n > 0) {
			t.Errorf("parseNumber(%q) = %d, %v", in, n, err)
		}
		if err != nil {
			wantFault(t, err, 400)
		}
	})
}
