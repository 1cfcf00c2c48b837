package micro

import (
	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
)

// What the tests may see of the inside.
const (
	AskTimeout   = askTimeout
	AskAgain     = askAgain
	MaxEndpoints = maxEndpoints
)

// ParseInfo is parseInfo.
func ParseInfo(data []byte) (mayfly.Service, string) { return parseInfo(bus.Answer{Body: data}) }

// ValidName is validName.
func ValidName(s string) bool { return validName(s) }

// NewPicture returns the picture of these services.
func NewPicture(services ...mayfly.Service) *Picture {
	known := map[key]*instance{}
	for _, s := range services {
		known[key{s.Name, s.ID}] = &instance{service: s}
	}
	return newPicture(known)
}
