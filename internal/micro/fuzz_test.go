package micro_test

import (
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/micro"
)

func FuzzParseInfo(f *testing.F) {
	f.Add([]byte(info("shop", "1", "order", "shop.order.*")))
	f.Add([]byte(`{"name":"a","id":"b","version":"1.0.0","metadata":{"n":1},"endpoints":[{"name":"e","subject":"$JS.x"},{}]}`))
	f.Add([]byte(`{"Name":"\u001b","ID":"x","endpoints":null}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, why := micro.ParseInfo(data)
		if why != "" {
			return
		}
		if !micro.ValidName(s.Name) || !micro.ValidName(s.ID) || !s.Started.IsZero() || len(s.Endpoints) > micro.MaxEndpoints {
			t.Errorf("service = %+v", s)
		}
		for _, e := range s.Endpoints {
			if _, err := mayfly.ParseSubjectPattern(e.Subject); err != nil || !micro.ValidName(e.Name) {
				t.Errorf("endpoint = %+v", e)
			}
		}
		micro.NewPicture(s)
	})
}
