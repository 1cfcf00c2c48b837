package mayfly

import "time"

// A Service is one running instance of a NATS micro service, as it describes
// itself to $SRV.INFO (ADR-32).
type Service struct {
	Name        string            `json:"name"`
	ID          string            `json:"id"`
	Version     string            `json:"version"`
	Description string            `json:"description"`
	Metadata    map[string]string `json:"metadata"`
	Endpoints   []Endpoint        `json:"endpoints"`
	Started     time.Time         `json:"started,omitzero"` // zero while unknown: INFO does not tell, STATS does
}

// An Endpoint is one subject that a service answers on.
type Endpoint struct {
	Name     string            `json:"name"`
	Subject  string            `json:"subject"` // may hold wildcards
	Queue    string            `json:"queue_group"`
	Metadata map[string]string `json:"metadata"`
}
