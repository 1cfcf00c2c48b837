package runner

import (
	"testing"

	"github.com/mayfly-run/mayfly"
)

func TestFirstCallStartsAnInstance(t *testing.T) {
	t.Parallel()
	p := &program{}
	r := run(t, p)
	set(t, r, hello(1))
	if n := p.started(); n != 0 {
		t.Fatalf("%d instances started before a call", n)
	}
	for range 3 {
		reply, err := r.Call(t.Context(), "hello", &mayfly.Call{Body: []byte("hi")})
		if err != nil || string(reply.Body) != "hi" {
			t.Fatalf("Call = %q, %v, want hi", reply.Body, err)
		}
	}
	if n := p.started(); n != 1 {
		t.Errorf("%d instances started, want 1", n)
	}
	if s, _ := r.Stats("hello"); s.Requests != 3 || s.Errors != 0 || s.InFlight != 0 || s.Starts != 1 {
		t.Errorf("Stats = %+v", s)
	}
}
