package project

import (
	"context"
	"io"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/shim"
)

// What internal/shim does not have yet; this file goes when it has.
type (
	javaScriptOptions struct {
		Entry, Out  string
		Development bool
	}
	goOptions struct {
		Folder, File, Out, Work, GOOS, GOARCH string
		Output                                io.Writer
	}
)

func shimJavaScript(context.Context, javaScriptOptions) (r shim.Result, err error) {
	return r, mayfly.Errorf(mayfly.Internal, "JavaScript cannot be built yet")
}

func shimGo(context.Context, goOptions) (r shim.Result, err error) {
	return r, mayfly.Errorf(mayfly.Internal, "Go cannot be built yet")
}
