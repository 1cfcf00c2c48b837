package mayfly

import "time"

// A Line is one line that an instance wrote, or that Mayfly says about it.
type Line struct {
	Time     time.Time `json:"time"`
	Function string    `json:"function"` // or the hosted service
	Revision uint64    `json:"revision"`
	Instance string    `json:"instance,omitempty"`
	Call     string    `json:"call,omitempty"` // id, where it is known which call said it
	Source   Source    `json:"source"`
	Text     string    `json:"text"` // without the line's end
}

// LineMark begins a line of an instance's output that belongs to one call: the
// mark, the call's id, the mark again, then the text. The shims write it, because
// only they know which of an instance's calls is talking.
const LineMark = "\x1e"

// A Source says who wrote a Line.
type Source string

// The sources.
const (
	Stdout Source = "stdout"
	Stderr Source = "stderr"
	System Source = "mayfly" // started, crashed, stopped
)
