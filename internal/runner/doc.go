// Package runner keeps functions alive.
package runner
