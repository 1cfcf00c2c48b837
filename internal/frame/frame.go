package frame

import (
	"encoding/binary"
	"fmt"
)

// Preface is what each side sends first. Its last byte is the version.
const Preface = "MFL\x01"

// Limits.
const (
	HeaderSize = 12
	MaxHead    = 1<<16 - 1 // bytes of a head
	MaxBody    = 1 << 16   // bytes of body in one frame
	Window     = 1 << 17   // bytes of body that each side may send per call before it is granted more
)

// A Kind says what a frame is for.
type Kind uint8

// Kinds of frames.
const (
	Head   Kind = 1 + iota // begins a request or a reply
	Data                   // more of a body
	Error                  // ends the call: it failed
	Credit                 // grants more bytes
	Cancel                 // ends the call: nobody waits for it
	last   = Cancel
)

// flagEnd is set on the last frame of a request or a reply.
const flagEnd = 1

// A Frame is one message about one call. Head and Body share memory with what it was read
// from.
type Frame struct {
	Call uint32
	Kind Kind
	End  bool // nothing follows in this direction
	Head []byte
	Body []byte
}

// Append appends a frame. Its head and body are within the limits.
func Append(b []byte, f Frame) []byte {
	start := len(b)
	b = Begin(b, f.Call, f.Kind)
	b = append(b, f.Head...)
	b = append(b, f.Body...)
	Finish(b[start:], len(f.Head), f.End)
	return b
}

// Begin appends the header of a frame. The caller appends its head and body, then calls Finish.
func Begin(b []byte, call uint32, kind Kind) []byte {
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, call)
	return append(b, byte(kind), 0, 0, 0)
}

// Finish completes a frame that Begin began and that is all of b: head is the size of its head.
func Finish(b []byte, head int, end bool) {
	binary.BigEndian.PutUint32(b, uint32(len(b)-HeaderSize))
	binary.BigEndian.PutUint16(b[10:], uint16(head))
	if end {
		b[9] = flagEnd
	}
}

// AppendCredit appends a frame that grants n more bytes.
func AppendCredit(b []byte, call, n uint32) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint32(Begin(b, call, Credit), n)
	Finish(b[start:], 0, false)
	return b
}

// Granted returns how many bytes a Credit grants.
func (f Frame) Granted() int {
	if len(f.Body) != 4 {
		return 0
	}
	return int(binary.BigEndian.Uint32(f.Body))
}

// Next returns the frame at the start of b and its length, or length 0 if b does not hold all
// of it. An error means that b is no sequence of frames.
func Next(b []byte) (f Frame, n int, err error) {
	if len(b) < HeaderSize {
		return f, 0, nil
	}
	size, head := int(binary.BigEndian.Uint32(b)), int(binary.BigEndian.Uint16(b[10:]))
	f = Frame{Call: binary.BigEndian.Uint32(b[4:]), Kind: Kind(b[8]), End: b[9] == flagEnd}
	if err := f.check(size, head, b[9]); err != nil {
		return f, 0, err
	}
	n = HeaderSize + size
	if len(b) < n {
		return f, 0, nil
	}
	f.Head, f.Body = b[HeaderSize:HeaderSize+head:HeaderSize+head], b[HeaderSize+head:n:n]
	return f, n, nil
}

// check returns why there is no such frame.
func (f Frame) check(size, head int, flags byte) error {
	switch {
	case f.Call == 0:
		return fmt.Errorf("a frame has no call")
	case f.Kind == 0 || f.Kind > last:
		return fmt.Errorf("a frame has the unknown kind %d", f.Kind)
	case flags > flagEnd:
		return fmt.Errorf("a frame has the unknown flags %#x", flags)
	case head > size || size-head > MaxBody:
		return fmt.Errorf("a frame has %d bytes, %d of them head", size, head)
	case head > 0 && f.Kind != Head && f.Kind != Error:
		return fmt.Errorf("a frame of kind %d has a head", f.Kind)
	case f.Kind == Credit && size != 4, f.Kind == Cancel && size != 0:
		return fmt.Errorf("a frame of kind %d has %d bytes", f.Kind, size)
	}
	return nil
}
