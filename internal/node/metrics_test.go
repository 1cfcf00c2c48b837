package node

import (
	"fmt"
	"testing"
)

// Ten thousand functions are not ten thousand times ten numbers in every scrape.
func TestOnlySoManyFunctionsHaveNumbersOfTheirOwn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name                string
		functions, want     int
		ofOthers            float64
		first, last, absent string
	}{
		{"none", 0, 0, 0, "", "", others},
		{"as many as there may be", maxTold, maxTold, 0, "f00000", "f00999", others},
		{"more", maxTold + 500, maxTold + 1, 500, "f00000", "f00999", "f01000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var names []string
			for i := range tt.functions {
				names = append(names, fmt.Sprintf("f%05d", i), fmt.Sprintf("f%05d", i)) // as a function and as a service
			}
			told := map[string]float64{}
			tell(names, func(string) float64 { return 1 }, func(v float64, values ...string) { told[values[0]] += v })
			_, absent := told[tt.absent]
			if len(told) != tt.want || told[others] != tt.ofOthers || absent || tt.first != "" && told[tt.first]+told[tt.last] != 2 {
				t.Errorf("%d names, %v of others", len(told), told[others])
			}
		})
	}
}
