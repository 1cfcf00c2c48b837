package micro

import "github.com/mayfly-run/mayfly"

// What the tests may see of the inside.
const (
	AskTimeout   = askTimeout
	AskAgain     = askAgain
	MaxEndpoints = maxEndpoints
)

// ParseInfo is parseInfo.
func ParseInfo(data []byte) (mayfly.Service, string) { return parseInfo(data) }

// ValidText is validText.
func ValidText(s string) bool { return validText(s) }

// NewPicture returns the picture of these services.
func NewPicture(services ...mayfly.Service) *Picture {
	known := map[key]*instance{}
	for _, s := range services {
		known[key{s.Name, s.ID}] = &instance{service: s}
	}
	return newPicture(known)
}
