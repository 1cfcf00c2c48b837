package openapi_test

import (
	"regexp"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/openapi"
)

// Generators of clients make functions of operationIds and ask a server's URL.
func TestDocumentSuitsGenerators(t *testing.T) {
	t.Parallel()
	shop, other := &mayfly.Unit{Name: "404-page", Project: "shop"}, &mayfly.Unit{Name: "hello", Project: "other"}
	routes := []mayfly.Route{route(t, "my-order", "POST /orders/{id}", "o.*", ""), route(t, "my.order", "POST /o", "o", "")}
	for i := range routes {
		routes[i].Project = "shop"
	}
	services := []mayfly.Service{{Name: "Hacker-News", Endpoints: []mayfly.Endpoint{{Name: "top.ten", Subject: "hn.top"}}}}
	c := openapi.Contents{Routes: routes, Functions: []*mayfly.Unit{shop}, Services: services, Server: "https://shop.example"}
	doc := validate(t, write(t, c))
	if doc.Info.Title != "shop" || len(doc.Servers) != 1 || doc.Servers[0].URL != "https://shop.example" {
		t.Errorf("title %q, servers %v", doc.Info.Title, doc.Servers)
	}
	seen := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString(op.OperationID) || seen[op.OperationID] {
				t.Errorf("%s %s has the id %q", method, path, op.OperationID)
			}
			seen[op.OperationID] = true
		}
	}
	c.Functions = append(c.Functions, other)
	if doc := validate(t, write(t, c)); doc.Info.Title != "mayfly" {
		t.Errorf("two projects have the title %q", doc.Info.Title)
	}
}
