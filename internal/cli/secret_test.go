package cli

import (
	"strings"
	"testing"
)

func TestSecretIsReadAsItIs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, want string }{
		{"a line", "key\n", "key"},
		{"a line from Windows", "key\r\n", "key"},
		{"a byte order mark before text", "\ufeffkey\r\n", "key"},
		{"no text", "\ufeff\xff", "\ufeff\xff"},
	} {
		if got, err := readSecret(&process{stdin: strings.NewReader(tt.in)}, "key"); err != nil || string(got) != tt.want {
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
	}
}
