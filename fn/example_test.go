package fn_test

import (
	"encoding/json"
	"log"
	"net/http"

	"github.com/mayfly-run/mayfly/fn"
)

// A program with a router: `mayfly up` runs it as a function, `go run .` as a web server.
func Example() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stock/{item}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"item": r.PathValue("item"), "left": 3})
	})
	if err := fn.Serve(mux); err != nil {
		log.Fatal(err)
	}
}
