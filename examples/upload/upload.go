// Package upload counts and hashes a body of any size. The body streams through;
// neither the function nor Mayfly holds it whole.
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
		http.Error(w, err.Error(), http.StatusBadRequest) // the upload was interrupted
		return
	}
	fmt.Fprintf(w, "%d bytes, sha256 %x\n", n, hash.Sum(nil))
}
