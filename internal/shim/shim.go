package shim

// A Result is what a build produced: how to start the function, and what it was
// made from.
type Result struct {
	// Start is the command line that runs the function, in the output folder.
	Start []string

	// Inputs are the files that were read, absolute and sorted. When one of them
	// changes, the build is out of date.
	Inputs []string

	Form Form
}

// A Form is how the user's code takes calls.
type Form int

// The forms.
const (
	Program Form = iota // an ordinary program that listens itself
	Short               // exports a handler; the shim listens and calls it
)

// String returns the form's name.
func (f Form) String() string {
	if f == Short {
		return "short"
	}
	return "program"
}
