package bundle

import (
	"cmp"
	"path"
	"strings"

	"github.com/mayfly-run/mayfly"
)

// Manifest is the first file of a bundle: what the bundle is and how it starts, as
// JSON.
const Manifest = "mayfly.json"

// Limits bound the contents of a bundle. A zero field means its default.
type Limits struct {
	Files  int   // files, folders and links; 50,000
	Bytes  int64 // unpacked; 512 MiB
	Packed int64 // 256 MiB
}

func (l Limits) withDefaults() Limits {
	l.Files = cmp.Or(l.Files, 50_000)
	l.Bytes = cmp.Or(l.Bytes, 512<<20)
	l.Packed = cmp.Or(l.Packed, 256<<20)
	return l
}

const (
	// maxName bounds the path of one file within a bundle.
	maxName = 1024

	// A bundle may unpack to slack bytes plus maxRatio times the bytes read so far.
	// Code compresses to a third, logs to a thirtieth.
	maxRatio = 1000
	slack    = 16 << 20

	// window is zstd's window size, and the memory that unpacking needs.
	window = 8 << 20
)

// bombed reports whether packed bytes unpack to suspiciously many.
func bombed(unpacked, packed int64) bool { return unpacked > slack+maxRatio*packed }

// CheckLink rejects, with code Invalid, a link at name that may lead out of the
// bundle. It only allows links that first go up and then down: each of them,
// followed from the real folder that contains it, stays within, and so do links
// through links.
func CheckLink(name, target string) error {
	bad := func(why string) error {
		return mayfly.Errorf(mayfly.Invalid, "link %q %s", mayfly.Clip(name), why).
			WithHint("links must stay inside the folder; replace it with a copy of its target")
	}
	if target == "" || len(target) > maxName || strings.ContainsAny(target, "\\\x00") {
		return bad("has an invalid target")
	}
	if path.IsAbs(target) {
		return bad("points to an absolute path")
	}
	down := false
	for part := range strings.SplitSeq(target, "/") {
		if part == ".." && down {
			return bad("goes up after it went down")
		}
		down = down || part != ".." && part != "." && part != ""
	}
	if inside := path.Join(path.Dir(name), target); inside == ".." || strings.HasPrefix(inside, "../") {
		return bad("leads out of the folder")
	}
	return nil
}
