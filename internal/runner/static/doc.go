// Package static is the engine for folders of files: a web site without a program.
//
//	Call ─► site ─► file, index.html of a folder ─► http.ServeContent ─► Reply
//	           └──► fallback, 404.html, 404
//
// An instance is an open folder in this process: it is ready at once and costs
// nothing. Types, ranges and conditional requests are net/http's. Validators are
// hashes of the content, because the times of a bundle's files mean nothing, and
// clients ask each time, so that they see a deploy at once.
//
// It does not list folders, compress, or serve anything that the bundle leaves out,
// such as names that start with a dot.
//
// Invariants, and the tests that guard them:
//   - a path finds its file, or says that there is none: TestSite
//   - a long file is streamed, never held: TestLongFileIsStreamed
//   - nothing outside the folder is served: TestSiteStaysInItsFolder
//   - it runs as other engines' instances do: TestInstanceStops
package static
