package micro_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/micro"
)

func BenchmarkLookup(b *testing.B) {
	services := make([]mayfly.Service, 1000)
	for i := range services {
		services[i] = mayfly.Service{Name: fmt.Sprintf("service%d", i), ID: "1", Version: "1.0.0", Started: time.Now()}
		for j := range 10 {
			services[i].Endpoints = append(services[i].Endpoints, mayfly.Endpoint{
				Name: fmt.Sprintf("endpoint%d", j), Subject: fmt.Sprintf("service%d.endpoint%d", i, j),
			})
		}
	}
	b.Run("lookup", func(b *testing.B) {
		p := micro.NewPicture(services...)
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := p.Lookup("service500", "endpoint5"); !ok {
				b.Fatal("not found")
			}
		}
	})
	b.Run("picture", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			micro.NewPicture(services...)
		}
	})
}
