// Package hello is a function: Mayfly finds Handle, compiles it with its own main,
// and calls it as net/http would.
package hello

import (
	"fmt"
	"net/http"
)

// Handle answers one call.
func Handle(w http.ResponseWriter, r *http.Request) {
	name := r.FormValue("name")
	if name == "" {
		name = "world"
	}
	fmt.Fprintf(w, "Hello, %s!\n", name)
}
