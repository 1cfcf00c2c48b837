package enginetest

import "syscall"

func mkfifo(string) error { return syscall.EWINDOWS }
