package mayfly_test

import (
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly"
)

func TestHeaderRules(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		rule      string
		is        func(string) bool
		canonical bool // the rule takes canonical names only
		names     []string
		not       []string
	}{
		{
			"hop-by-hop", mayfly.IsHopByHop, true,
			[]string{
				"Connection", "Content-Length", "Expect", "Http2-Settings", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
				"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
			},
			[]string{"", "T", "Content-Type", "Proxy", "Www-Authenticate", "Authorization", "Upgrade-Insecure-Requests", strings.Repeat("T", 1000)},
		},
		{
			"reserved", mayfly.IsReserved, false,
			[]string{"Status", "Description", "Kv-Operation", "Nats-", "Nats-Trace-Dest", "Mayfly-", "Mayfly-Call", "Mayfly-Param-Id"},
			[]string{"", "Nats", "Mayfly", "X-Nats-", "Statuses", "Status-", "Traceparent", "X-Call-Id"},
		},
		{
			"param", mayfly.IsParam, false,
			[]string{"Mayfly-Param-Id", "Mayfly-Param-X"},
			[]string{"", "Mayfly-Param-", "Mayfly-Param", "Mayfly-Call"},
		},
		{
			"forwarded", mayfly.IsForwarded, false,
			[]string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix", "X-Forwarded-"},
			[]string{"", "X-Forwarded", "Forwarded-For", "X-Forward-For", "X-Real-Ip"},
		},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			t.Parallel()
			for _, name := range tt.names {
				spellings := []string{name, strings.ToLower(name), strings.ToUpper(name)}
				if tt.canonical {
					spellings = spellings[:1]
				}
				for _, name := range spellings {
					if !tt.is(name) {
						t.Errorf("%q is not", name)
					}
				}
			}
			for _, name := range tt.not {
				if tt.is(name) {
					t.Errorf("%q is", name)
				}
			}
		})
	}
}

// BenchmarkHeaderRules asks what the gateway asks about the headers of a browser.
func BenchmarkHeaderRules(b *testing.B) {
	names := []string{
		"Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Connection", "Cookie", "Dnt", "Referer", "Sec-Fetch-Dest",
		"Sec-Fetch-Mode", "Sec-Fetch-Site", "Upgrade-Insecure-Requests", "User-Agent",
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, name := range names {
			_ = mayfly.IsForwarded(name) || mayfly.IsHopByHop(name) || mayfly.IsReserved(name)
		}
	}
}
