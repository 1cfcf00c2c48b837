package shim

import "slices"

// A Result is what a build produced: how to start the function, and what it was
// made from.
type Result struct {
	// Start is the command line that runs the function, in the output folder.
	Start []string

	// Inputs are the files that were read, absolute and sorted. When one of them
	// changes, the build is out of date.
	Inputs []string

	// Sought are places besides Inputs where a change makes a new build worthwhile: links
	// that lead to inputs and, on an error, where what is missing may appear. Most do not
	// exist.
	Sought []string

	// Packages are what the output needs as it is installed: paths in the output
	// folder, with slashes, and the folders to copy there without their node_modules.
	Packages map[string]string

	// Files are own files and folders that code reads at run time, so they must be in
	// the output too, at the same place.
	Files []string

	Short bool // the user's code exports a handler that the shim serves, and listens for nothing itself
}

// IsHandler reports whether a command line runs a handler in one of the shims, which
// listen for it. Any other program listens by itself.
func IsHandler(start []string) bool {
	return slices.Contains(start, pythonStart) || slices.Contains(start, javaScriptServer)
}
