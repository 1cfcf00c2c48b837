package config_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/config"
)

func TestBytesReadsUnits(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   string
		want config.Bytes
		text string
	}{
		{"0", 0, "0"},
		{"1000", 1000, "1KB"},
		{"64MiB", 64 << 20, "64MiB"},
		{"2GiB", 2 << 30, "2GiB"},
		{"1MB", 1e6, "1MB"},
		{"16 kib", 16 << 10, "16KiB"},
		{"1000KiB", 1000 << 10, "1000KiB"},
		{"1TiB", 1 << 40, "1TiB"},
		{"-1", -1, "-1"},
	} {
		var b config.Bytes
		if err := b.UnmarshalText([]byte(tt.in)); err != nil || b != tt.want || b.String() != tt.text {
			t.Errorf("%q is %d (%s), error %v; want %d (%s)", tt.in, int64(b), b, err, int64(tt.want), tt.text)
		}
	}
}

func TestBytesRefusesWhatIsNoSize(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"", "MiB", "1B", "1.5GiB", "1XB", "9223372036854775808", "8388608TiB", "-8388609TiB", "1 2", "ten"} {
		b := config.Bytes(7)
		if err := b.UnmarshalText([]byte(in)); mayfly.CodeOf(err) != mayfly.Invalid || b != 7 {
			t.Errorf("%q is %d, error %v", in, int64(b), err)
		}
	}
}

func TestBytesReadsWhatItWrites(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.SampledFrom([]int64{1, 1e3, 1 << 10, 1e6, 1 << 20, 1 << 40}).Draw(t, "unit")
		want := config.Bytes(unit * rapid.Int64Range(math.MinInt64/unit, math.MaxInt64/unit).Draw(t, "n"))
		var got config.Bytes
		if err := got.UnmarshalText([]byte(want.String())); err != nil || got != want {
			t.Fatalf("%s is %d, error %v; want %d", want, int64(got), err, int64(want))
		}
	})
}
