package config

import (
	"math"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly"
)

// Bytes is a size, such as 64MiB, 2GB or 1000.
type Bytes int64

// units go from large to small.
var units = []struct {
	name string
	size Bytes
}{
	{"TiB", 1 << 40},
	{"TB", 1e12},
	{"GiB", 1 << 30},
	{"GB", 1e9},
	{"MiB", 1 << 20},
	{"MB", 1e6},
	{"KiB", 1 << 10},
	{"KB", 1e3},
}

// String returns the number in the largest unit that is exact, so that
// UnmarshalText reads it back.
func (b Bytes) String() string {
	for _, u := range units {
		if b != 0 && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// UnmarshalText reads a whole number and, optionally, a unit: KB, MB, GB and TB
// count in thousands, KiB, MiB, GiB and TiB in 1024. Case does not matter.
func (b *Bytes) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	bad := mayfly.Errorf(mayfly.Invalid, "%q is not a size", mayfly.Clip(s)).WithHint("try 64MiB, 2GB or 1000")
	number, size := s, Bytes(1)
	for _, u := range units {
		if end := len(s) - len(u.name); end > 0 && strings.EqualFold(s[end:], u.name) {
			number, size = strings.TrimSpace(s[:end]), u.size
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n > math.MaxInt64/int64(size) || n < math.MinInt64/int64(size) {
		return bad
	}
	*b = Bytes(n) * size
	return nil
}
