package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// The functions, in their short forms, and hand-written servers that do the same:
// read the body, echo it.
var programs = map[string]string{
	"echo.go": `package echo

import (
	"io"
	"net/http"
)

func Handle(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Write(body)
}
`,
	"echo.mjs": `export default async (request) => new Response(await request.text());
`,
	"worker.mjs": `export default { fetch: async (request) => new Response(await request.text()) };
`,
	"worker.capnp": `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [(name = "main", worker = (
    modules = [(name = "worker.mjs", esModule = embed "worker.mjs")],
    compatibilityDate = "2025-01-01",
  ))],
  sockets = [(name = "http", http = (), service = "main")],
);
`,
	"framework.cjs": `exports.echo = (request, response) => response.type("text").send(request.rawBody);
`,
	"events.go": `package events

import (
	"fmt"
	"net/http"
	"time"
)

// Handle sends ten events a second, each with its time.
func Handle(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	tick := time.NewTicker(time.Second / 10)
	defer tick.Stop()
	for {
		fmt.Fprintf(w, "data: %d\n\n", time.Now().UnixNano())
		if out.Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}
`,
	"app.py": `from fastapi import FastAPI, Request, Response

app = FastAPI()


@app.post("/{path:path}")
async def echo(request: Request):
    return Response(await request.body(), media_type="text/plain")
`,
	"echo.py": `def handle(request):
    return request.text()
`,
	"echo.sh": `#!/bin/sh
exec cat
`,
	"server.mjs": `import http from "node:http";

const server = http.createServer((request, response) => {
  let body = "";
  request.setEncoding("utf8");
  request.on("data", (chunk) => (body += chunk));
  request.on("end", () => {
    const head = { "Content-Type": "text/plain;charset=UTF-8", "Content-Length": Buffer.byteLength(body) };
    response.writeHead(200, head).end(body);
  });
});
server.keepAliveTimeout = 0; // a pause between rounds closes no connection
server.listen(0, "127.0.0.1", () => console.log("127.0.0.1:" + server.address().port));
`,
	"server.py": threadingServer + `Echo.protocol_version = "HTTP/1.1"
serve()
`,
	// Without the log, and with one packet per reply instead of two, of which the
	// second waits for the first one's ack.
	"tuned.py": threadingServer + `Echo.protocol_version = "HTTP/1.1"
Echo.log_message = lambda self, *_: None
Echo.wbufsize = -1
Echo.disable_nagle_algorithm = True
serve()
`,
}

const threadingServer = `from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Echo(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        reply = body.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

def serve():
    ThreadingHTTPServer.request_queue_size = 1024  # simultaneous connections
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    print("127.0.0.1:%d" % server.server_port, flush=True)
    server.serve_forever()

`

// echo is the function of echo.go, for our own servers.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Write(body)
}

// writeProgram writes one of the programs into folder and returns its path.
func writeProgram(folder, name string) (string, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(folder, name)
	return path, os.WriteFile(path, []byte(programs[name]), 0o755)
}

// A function is one of a project: a program, and its settings in YAML.
type function struct{ program, settings string }

// writeProject writes a project of functions, by name, into folder.
func writeProject(folder string, functions map[string]function) error {
	var manifest strings.Builder
	manifest.WriteString("project: bench\nfunctions:\n")
	for name, f := range functions {
		if _, err := writeProgram(folder, f.program); err != nil {
			return err
		}
		fmt.Fprintf(&manifest, "  %s: {code: ./%s, %s}\n", name, f.program, f.settings)
	}
	return os.WriteFile(filepath.Join(folder, "mayfly.yaml"), []byte(manifest.String()), 0o644)
}
