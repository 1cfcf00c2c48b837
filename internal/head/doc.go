// Package head writes the head of a call to a program, and checks what comes back: names,
// values and targets as HTTP allows them (RFC 9110, RFC 9112), for every carrier.
//
// Invariants, and the tests that guard them:
//   - nothing in a call adds a line to its head: TestNothingIsInjected, FuzzRequest in
//     internal/runner/http
package head
