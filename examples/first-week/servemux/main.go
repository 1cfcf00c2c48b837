// Servemux is an ordinary Go program that listens on $PORT.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /square/{side}", square)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), mux))
}

func square(w http.ResponseWriter, r *http.Request) {
	var side int
	if _, err := fmt.Sscan(r.PathValue("side"), &side); err != nil {
		http.Error(w, "the side is not a number", http.StatusBadRequest)
		return
	}
	fmt.Fprintln(w, side*side)
}
