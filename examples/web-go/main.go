// Web-go is an ordinary web program that knows nothing of Mayfly. It listens on
// $PORT, as on many platforms, and runs without Mayfly too:
// PORT=3000 go run ./examples/web-go
package main

import (
	"encoding/json"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
)

func main() {
	guests := &book{names: []string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", home)
	mux.HandleFunc("GET /guests", guests.list)
	mux.HandleFunc("POST /guests/{name}", guests.sign)

	addr := net.JoinHostPort("127.0.0.1", os.Getenv("PORT"))
	log.Print("listening on ", addr)
	log.Fatal(http.ListenAndServe(addr, mux))
}

func home(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write([]byte("<h1>Guest book</h1>\n"))
}

// A book holds names in memory.
type book struct {
	mu    sync.Mutex
	names []string
}

func (b *book) list(w http.ResponseWriter, _ *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	json.NewEncoder(w).Encode(b.names)
}

func (b *book) sign(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.names = append(b.names, r.PathValue("name"))
	w.WriteHeader(http.StatusCreated)
}
