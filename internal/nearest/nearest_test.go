package nearest_test

import (
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/internal/nearest"
)

func TestToFindsOnlyWhatIsClose(t *testing.T) {
	t.Parallel()
	keys := []string{"http", "subject", "service", "payload", "timeout", "gateway.addr"}
	for _, tt := range []struct{ name, word, want string }{
		{"the word itself", "http", "http"},
		{"two neighbours swapped", "subjcet", "subject"},
		{"a byte missing", "gatway.addr", "gateway.addr"},
		{"a byte too many", "htttp", "http"},
		{"another case", "Timeout", "timeout"},
		{"two edits in a long word", "gatewai.adr", "gateway.addr"},
		{"too many edits for a short word", "hops", ""},
		{"something else", "colour", ""},
		{"nothing", "", ""},
		{"a huge word", strings.Repeat("http", 1000), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, ok := nearest.To(tt.word, keys)
			if got != tt.want || ok != (tt.want != "") {
				t.Errorf("To(%q) = %q, %v, want %q", tt.word, got, ok, tt.want)
			}
		})
	}
}

func TestToPrefersTheClosest(t *testing.T) {
	t.Parallel()
	if got, _ := nearest.To("bus.usr", []string{"bus.addr", "bus.user", "bus.users"}); got != "bus.user" {
		t.Errorf("To = %q, want bus.user", got)
	}
}
