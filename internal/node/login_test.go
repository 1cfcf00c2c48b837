package node

import (
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly"
)

func TestInstanceWithoutLoginIsToldWhatToWrite(t *testing.T) {
	t.Parallel()
	var o logins
	for _, tt := range []struct {
		line mayfly.Line
		told bool
	}{
		{mayfly.Line{Function: "a", Instance: "1", Source: mayfly.Stderr, Text: "nats: Authorization Violation"}, true},
		{mayfly.Line{Function: "a", Instance: "1", Source: mayfly.Stderr, Text: "nats: Authorization Violation"}, false},
		{mayfly.Line{Function: "a", Instance: "2", Source: mayfly.Stderr, Text: "NatsError: AUTHORIZATION_VIOLATION"}, true},
		{mayfly.Line{Function: "b", Instance: "1", Source: mayfly.Stdout, Text: "nats: 'Authorization Violation'"}, true},
		{mayfly.Line{Function: "b", Instance: "2", Source: mayfly.Stdout, Text: "author: Ada"}, false},
		{mayfly.Line{Function: "b", Instance: "2", Source: mayfly.System, Text: "authorization violation"}, false},
	} {
		got, told := o.advice(tt.line)
		if told != tt.told || told && (got.Source != mayfly.System || !strings.Contains(got.Text, "creds: NAME` for "+tt.line.Function)) {
			t.Errorf("%+v: %+v, %v", tt.line, got, told)
		}
	}
}
