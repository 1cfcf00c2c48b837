package scope

import "embed"

// Source is the source of this package, for functions that contain a copy of it.
//
//go:embed context.go watch.go
var Source embed.FS
