package door

import (
	"net/http"
	"testing"

	"github.com/mayfly-run/mayfly"
)

func TestOwnNames(t *testing.T) {
	t.Parallel()
	more := []string{"shop.test"}
	for _, tt := range []struct {
		host string
		want bool
	}{
		{"localhost", true},
		{"LOCALHOST:8080", true},
		{"127.0.0.1:8080", true},
		{"127.8.8.8", true},
		{"[::1]:8080", true},
		{"[::1]", true},
		{"shop.test:8080", true},
		{"Shop.Test", true},
		{"evil.test", false},
		{"localhost.evil.test", false},
		{"10.0.0.1", false},
		{"0.0.0.0", false},
		{"", false},
		{":8080", false},
	} {
		if got := Own(&http.Request{Host: tt.host, ProtoMajor: 1, ProtoMinor: 1}, more); got != tt.want {
			t.Errorf("Own(%q) = %v, want %v", tt.host, got, tt.want)
		}
	}
	for host, want := range map[string]bool{"": true, "localhost": true, "evil.test": false} {
		if got := Own(&http.Request{Host: host, ProtoMajor: 1}, more); got != want {
			t.Errorf("HTTP/1.0: Own(%q) = %v, want %v", host, got, want)
		}
	}
}

func TestListenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	l, err := Listen("gateway.addr", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if !Loopback(l.Addr()) {
		t.Errorf("%s is not loopback", l.Addr())
	}
	_, err = Listen("gateway.addr", l.Addr().String())
	if mayfly.CodeOf(err) != mayfly.Conflict || mayfly.HintOf(err) == "" {
		t.Errorf("a taken address: %v (hint %q), want a conflict with a hint", err, mayfly.HintOf(err))
	}
	_, err = Listen("gateway.addr", "127.0.0.1:eighty")
	if mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("a port that is none: %v, want invalid", err)
	}
}
