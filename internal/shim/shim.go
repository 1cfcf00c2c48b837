package shim

// A Result is what a build left behind: how the function is started, and what it
// was made of.
type Result struct {
	// Start is the command line that runs the function, to be run in the folder
	// that the build wrote to.
	Start []string

	// Inputs are the files that were read, absolute: when one of them changes, the
	// build is out of date. They are sorted.
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
