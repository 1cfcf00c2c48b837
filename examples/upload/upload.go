// Package upload counts and hashes what is sent to it, of any size: the body goes
// through piece by piece and is never held whole, neither here nor in Mayfly.
package upload

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
)

// Handle answers one upload.
func Handle(w http.ResponseWriter, r *http.Request) {
	hash := sha256.New()
	n, err := io.Copy(hash, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest) // it broke off
		return
	}
	fmt.Fprintf(w, "%d bytes, sha256 %x\n", n, hash.Sum(nil))
}
