package frame

import "embed"

// Source is the source of this package, for functions that contain a copy of it.
//
//go:embed frame.go reader.go writer.go writer_other.go writer_unix.go
var Source embed.FS
