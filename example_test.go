package mayfly_test

import (
	"fmt"
	"net/http"
	"time"

	"github.com/mayfly-run/mayfly"
)

func ExampleUnit() {
	f := mayfly.Unit{Name: "hello", Revision: 7, Summary: "Greets."}
	s := f.Service("one")
	fmt.Println(f.Ref())
	fmt.Println(s.Name, s.Version, s.Endpoints[0].Name, s.Endpoints[0].Subject)
	// Output:
	// hello@7
	// hello 1.0.7 call fn.hello
}

func ExampleCall() {
	subject, err := mayfly.ParseSubject("tasks")
	if err != nil {
		panic(err)
	}
	call := mayfly.Call{
		ID:       "c1",
		Subject:  subject,
		Method:   http.MethodPost,
		Path:     "/createTask",
		Body:     []byte("help please"),
		Deadline: time.Date(2026, 1, 1, 0, 0, 5, 0, time.UTC),
	}
	fmt.Printf("%s %s -> %s: %s\n", call.Method, call.Path, call.Subject, call.Body)
	// Output: POST /createTask -> tasks: help please
}

func ExampleRoute() {
	pattern, err := mayfly.ParsePattern("GET /orders/{id}")
	if err != nil {
		panic(err)
	}
	subject, err := mayfly.ParseSubjectPattern("orders.*")
	if err != nil {
		panic(err)
	}
	bySubject := mayfly.Route{Name: "order", Pattern: pattern, Subject: subject}
	byService := mayfly.Route{Name: "order", Pattern: pattern, Service: "Orders", Endpoint: "get"}
	fmt.Println(bySubject.Pattern, "->", bySubject.Target())
	fmt.Println(byService.Pattern, "->", byService.Target())
	// Output:
	// GET /orders/{id} -> orders.*
	// GET /orders/{id} -> Orders/get
}

func ExampleCode() {
	for _, code := range mayfly.Codes() {
		fmt.Printf("%-11s HTTP %d, exit %d\n", code, code.Status(), code.Exit())
	}
	// Output:
	// internal    HTTP 500, exit 1
	// invalid     HTTP 400, exit 2
	// denied      HTTP 403, exit 3
	// not_found   HTTP 404, exit 4
	// conflict    HTTP 409, exit 5
	// exhausted   HTTP 429, exit 6
	// crashed     HTTP 502, exit 7
	// unavailable HTTP 503, exit 6
	// timeout     HTTP 504, exit 6
}
