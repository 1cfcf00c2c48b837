package door

import (
	"net"
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

func TestURLIsForClientsOnThisMachine(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		ip    string
		https bool
		want  string
	}{
		{"127.0.0.1", false, "http://localhost:80"},
		{"0.0.0.0", true, "https://localhost:80"},
		{"::", false, "http://localhost:80"},
		{"10.0.0.7", false, "http://10.0.0.7:80"},
		{"fd00::7", false, "http://[fd00::7]:80"},
	} {
		if got := URL(at{addr: net.TCPAddr{IP: net.ParseIP(tt.ip), Port: 80}}, tt.https); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.ip, got, tt.want)
		}
	}
}

// An at is a listener that only says where it listens.
type at struct {
	net.Listener
	addr net.TCPAddr
}

func (a at) Addr() net.Addr { return &a.addr }
