package mayfly

import "time"

// A Line is a line that an instance wrote, or that Mayfly logged about it.
type Line struct {
	Time     time.Time `json:"time"`
	Function string    `json:"function"` // or the service
	Revision uint64    `json:"revision"`
	Instance string    `json:"instance,omitempty"`
	Call     string    `json:"call,omitempty"` // id of the call that wrote it, if known
	Source   Source    `json:"source"`
	Text     string    `json:"text"` // without the line end
}

// LineMark begins a line of an instance's output that belongs to one call: the
// mark, the call's id, the mark again, then the text. The shims write it, because
// only they know which call is writing.
const LineMark = "\x1e"

// A Source says what wrote a Line.
type Source string

// The sources.
const (
	Stdout Source = "stdout"
	Stderr Source = "stderr"
	System Source = "mayfly" // Mayfly itself: started, crashed, stopped
)
