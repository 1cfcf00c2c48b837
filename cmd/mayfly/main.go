// Mayfly is one program that turns NATS into a home for microservices and
// functions: an embedded NATS server (or yours), an HTTP gateway in front of every
// service on it, and the commands to look at them and call them.
//
//	mayfly up examples/createtask
//	curl -i http://127.0.0.1:8080/createTask
//	mayfly list
//
// The commands and their help live in internal/cli; testdata holds the manual, as
// scripts that are run as tests.
package main

import (
	"os"
	_ "time/tzdata" // a container without files still knows its time zones

	"github.com/mayfly-run/mayfly/internal/cli"
	"github.com/mayfly-run/mayfly/internal/config"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], config.Environ(), os.Stdin, os.Stdout, os.Stderr))
}
