package mayfly_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/mayfly-run/mayfly"
)

func TestServiceShowsAFunctionAsAMicroService(t *testing.T) {
	t.Parallel()
	list, err := mayfly.ParsePattern("GET /orders")
	if err != nil {
		t.Fatal(err)
	}
	one, err := mayfly.ParsePattern("GET /orders/{id}")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name     string
		function mayfly.Unit
		want     map[string]string
	}{
		{"bare", mayfly.Unit{}, map[string]string{}},
		{"summary", mayfly.Unit{Summary: "Orders."}, map[string]string{"mayfly.summary": "Orders."}},
		{"patterns, one a line", mayfly.Unit{HTTP: []mayfly.Pattern{list, one}}, map[string]string{"mayfly.http": "GET /orders\nGET /orders/{id}"}},
		{"metadata as it is", mayfly.Unit{Metadata: map[string]string{"zone": "eu"}}, map[string]string{"zone": "eu"}},
		{
			"patterns join those of the metadata",
			mayfly.Unit{HTTP: []mayfly.Pattern{list}, Metadata: map[string]string{"mayfly.http": "POST /orders"}},
			map[string]string{"mayfly.http": "POST /orders\nGET /orders"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.function.Name, tt.function.Revision = "orders", 7
			want := mayfly.Service{
				Name:        "orders",
				ID:          "node-1",
				Version:     "1.0.7",
				Description: tt.function.Summary,
				Metadata:    map[string]string{},
				Endpoints:   []mayfly.Endpoint{{Name: "call", Subject: "fn.orders", Queue: "q", Metadata: tt.want}},
			}
			if got := tt.function.Service("node-1"); !reflect.DeepEqual(got, want) {
				t.Errorf("Service = %+v, want %+v", got, want)
			}
		})
	}
}

func TestServiceLeavesTheFunctionAlone(t *testing.T) {
	t.Parallel()
	f := mayfly.Unit{Name: "orders", Revision: 1, Summary: "Orders.", Metadata: map[string]string{"zone": "eu"}}
	f.Service("node-1").Endpoints[0].Metadata["zone"] = "us"
	if want := map[string]string{"zone": "eu"}; !reflect.DeepEqual(f.Metadata, want) {
		t.Errorf("the function's metadata is now %v", f.Metadata)
	}
}

// ADR-32 wants objects where there is no metadata; null is refused by its schemas.
func TestServiceHasNoNullOnTheWire(t *testing.T) {
	t.Parallel()
	got, err := json.Marshal(mayfly.Unit{Name: "hello", Revision: 1}.Service("node-1"))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"name":"hello","id":"node-1","version":"1.0.1","description":"","metadata":{},` +
		`"endpoints":[{"name":"call","subject":"fn.hello","queue_group":"q","metadata":{}}]}`
	if string(got) != want {
		t.Errorf("Service is\n%s, want\n%s", got, want)
	}
}
