// Package frametest is the node's side of frames for tests of instances: it listens where an
// instance connects, and calls it as an http.RoundTripper.
//
//	http.Client ──► Node ──► frames ──► the instance under test
//
// It is stricter than a node has to be: an instance that breaks the rules of docs/frames.md
// fails the test. It shares no code with what it tests but the codec.
package frametest
