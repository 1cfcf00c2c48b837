package registry_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/mayfly-run/mayfly/internal/registry"
)

func TestRoutesAreDeployed(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	r := open(t, b, registry.Options{})
	subject, err := mayfly.ParseSubjectPattern("orders.*")
	if err != nil {
		t.Fatal(err)
	}
	payload, err := mayfly.ParseTemplate(`{"id":{id}}`)
	if err != nil {
		t.Fatal(err)
	}
	order := mayfly.Route{
		Name: "order", Project: "shop", Pattern: pattern(t, "POST /orders/{id}"), Subject: subject, Payload: payload,
		Timeout: mayfly.Duration(time.Minute), Summary: "takes an order", Request: json.RawMessage(`{"type":"object"}`),
		CORS: &mayfly.CORS{Origins: []string{"https://shop.example"}, Credentials: true, MaxAge: mayfly.Duration(time.Hour)},
	}
	second := order
	second.Pattern = pattern(t, "PUT /orders/{id}")
	top := mayfly.Route{Name: "a-top", Project: "shop", Pattern: pattern(t, "GET /top"), Service: "HackerNews", Endpoint: "top"}

	wanted := []mayfly.Route{top, order, second}
	news := r.Watch(t.Context())
	if changed, err := r.DeployRoutes(t.Context(), []mayfly.Route{order, second, top}, registry.Change{}); err != nil || !changed {
		t.Fatalf("deploy = %v, %v", changed, err)
	}
	<-news
	same := cmp.Options{
		cmp.Comparer(func(a, b mayfly.SubjectPattern) bool { return a.String() == b.String() }),
		cmp.Comparer(func(a, b mayfly.Template) bool { return a.String() == b.String() }),
		cmp.Comparer(func(a, b mayfly.Pattern) bool { return a.String() == b.String() }),
		cmpopts.EquateEmpty(),
	}
	for who, reader := range map[string]*registry.Registry{"the writer": r, "another": open(t, b, registry.Options{})} {
		if diff := cmp.Diff(wanted, reader.Routes(), same); diff != "" {
			t.Errorf("%s sees other routes:\n%s", who, diff)
		}
	}
	if changed, err := r.DeployRoutes(t.Context(), wanted, registry.Change{}); err != nil || changed {
		t.Errorf("deploy of the same = %v, %v", changed, err)
	}
	top.Project = "blog"
	_, err = r.DeployRoutes(t.Context(), []mayfly.Route{top}, registry.Change{})
	wantCode(t, err, mayfly.Denied, "project shop")
	top.Name = "a.b"
	_, err = r.DeployRoutes(t.Context(), []mayfly.Route{top}, registry.Change{})
	wantCode(t, err, mayfly.Invalid)

	if err := r.RemoveRoute(t.Context(), "order"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, r.RemoveRoute(t.Context(), "order"), mayfly.NotFound, `route "order" is not deployed`)
	if left := r.Routes(); len(left) != 1 || left[0].Name != "a-top" {
		t.Errorf("routes after the removal: %v", left)
	}
}

func TestHostileRoutesAreNotServed(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	kv := bucketOf(t, b)
	for name, value := range map[string]string{
		"internal": `{"v":1,"name":"internal","http":["GET /a"],"subject":"$SYS.REQ.SERVER.PING"}`,
		"reserved": `{"v":1,"name":"reserved","http":["GET /fn/hello"],"subject":"a"}`,
		"other":    `{"v":1,"name":"good","http":["GET /b"],"subject":"a"}`,
		"pattern":  `{"v":1,"name":"pattern","http":["GET"],"subject":"a"}`,
		"good":     `{"v":1,"name":"good","http":["GET /good"],"subject":"a"}`,
	} {
		if _, err := kv.PutString(t.Context(), "route/"+name, value); err != nil {
			t.Fatal(err)
		}
	}
	routes := open(t, b, registry.Options{}).Routes()
	if len(routes) != 1 || routes[0].Pattern.String() != "GET /good" {
		t.Errorf("routes = %v", routes)
	}
}
