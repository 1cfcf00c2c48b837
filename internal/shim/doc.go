// Package shim turns a user's file into something that the http engine can start:
// a program that answers HTTP on the unix socket MAYFLY_SOCKET.
//
//	hello.ts ──JavaScript──► Out/function.mjs + Out/shim.mjs ──► node shim.mjs
//	hello.py ──Python──────► Out/mayfly_shim.py              ──► python3 mayfly_shim.py
//	hello.go ──Go──────────► a generated main                ──► the binary
//
// A short form exports a handler and knows nothing of sockets: the shim, a small
// readable file in the function's own language, listens for it, hands it each
// request and writes what it returns. A program listens itself and runs as it is.
// Which of the two a file is, a build finds without running it.
//
// It neither finds the user's file nor packs what was built: project does. It does
// not start what it built: the engines do. Nothing is written into the user's
// folder.
package shim
