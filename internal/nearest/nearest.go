package nearest

import "strings"

// maxWord bounds the work for a word from outside; nobody mistypes longer keys.
const maxWord = 128

// To returns the candidate that is closest to word, the first of equals. The two
// may differ by one edit for every three bytes of word, at least one: an edit
// inserts, drops or replaces a byte or swaps two neighbours. Case does not count.
func To(word string, candidates []string) (string, bool) {
	if word == "" || len(word) > maxWord {
		return "", false
	}
	best, found := max(1, len(word)/3)+1, ""
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), strings.ToLower(c), best); d < best {
			best, found = d, c
		}
	}
	return found, found != ""
}

// Hint asks whether the closest candidate was meant. Without one it returns otherwise.
func Hint(word string, candidates []string, otherwise string) string {
	if near, ok := To(word, candidates); ok {
		return "did you mean " + near + "?"
	}
	return otherwise
}

// distance returns how many edits make b of a, or limit if it is no less.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	// Row i holds the distances between a[:i] and every beginning of b; a swap
	// looks two rows back.
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			d := above[j-1]
			if a[i-1] != b[j-1] {
				d = 1 + min(d, above[j], row[j-1])
				if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
					d = min(d, 1+before[j-2])
				}
			}
			row[j] = d
		}
		before, above, row = above, row, before
	}
	return min(limit, above[len(b)])
}
