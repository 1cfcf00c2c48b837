package instance

import "embed"

// Source is the source of this package, for functions that contain a copy of it.
//
//go:embed body.go call.go instance.go request.go response.go session.go trace.go
var Source embed.FS
