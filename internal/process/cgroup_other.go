//go:build !linux

package process

import "log/slog"

func openTree(*slog.Logger) *tree       { return nil }
func (*tree) close()                    {}
func (*tree) cell(int64) (*cell, error) { return nil, nil }
func (*cell) kill() bool                { return false }
func (*cell) end() bool                 { return false }
func (*cell) ranDry() bool              { return false }
func (*cell) remove()                   {}
