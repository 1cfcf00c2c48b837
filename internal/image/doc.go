// Package image has no code: it holds the tests of what is shipped as container images,
// apart from the others because they build the binaries, which takes minutes on a
// machine that never did.
//
//	compose.yaml ──► JSON Schema, services, ports, volumes
//	Dockerfile   ──► stages, go build ──► static binaries
//
// The files are read, and what they build is built with the go command of this machine.
// With the build tag engine, a real container engine builds and runs them:
// TestOnAnEngine.
package image
