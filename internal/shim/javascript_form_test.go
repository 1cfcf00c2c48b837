package shim_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/shim"
)

// The frameworks are stand-ins with the methods by which the real ones are known.
func TestJavaScriptForms(t *testing.T) {
	t.Parallel()
	const serve = `import http from "node:http"; const server = http.createServer((req, res) => res.end("its own"));`
	for _, tt := range []struct {
		name   string
		files  []string
		method string
		path   string
		send   string
		header []string
		status int // 200 if 0
		want   string
	}{
		{name: "Express", files: []string{"app.js", `const app = (req, res, next) => res.end("express " + req.url); app.use = app.handle = () => {}; module.exports = app;`}, path: "/a?b", want: "express /a?b"},
		{name: "Express that fails", files: []string{"app.js", `const app = (req, res, next) => { throw new Error("no"); }; app.use = app.handle = () => {}; module.exports = app;`}, status: 502, want: "Error: no"},
		{name: "Fastify", files: []string{"app.js", `let ready; const app = { ready: async () => { ready = " ready"; }, routing: (req, res) => res.end("fastify" + ready) }; module.exports = app;`}, want: "fastify ready"},
		{name: "Fastify that is being made", files: []string{"app.mjs", `const app = { ready: async () => {}, routing: (req, res) => res.end("fastify") }; export default Promise.resolve(app);`}, want: "fastify"},
		{name: "Koa", files: []string{"app.js", `class Koa { middleware = []; callback() { return (req, res) => res.end("koa"); } } module.exports = new Koa();`}, want: "koa"},
		{name: "a server that does not listen", files: []string{"app.mjs", serve + `export default server;`}, want: "its own"},
		{name: "(req, res)", files: []string{"app.js", `module.exports = (req, res) => { res.statusCode = 201; res.end(req.method); }`}, method: "PUT", status: 201, want: "PUT"},
		{name: "(request, response) in TypeScript", files: []string{"app.ts", `import type { IncomingMessage, ServerResponse } from "node:http"; export default async function handler(request: IncomingMessage, response: ServerResponse): Promise<void> { response.end("node"); }`}, want: "node"},
		{
			name:   "(req, res) that rejects",
			files:  []string{"app.js", `exports.default = async (_req, res) => { throw new Error("late"); }`},
			status: 502, want: "Error: late",
		},
		{
			name:  "(req, res) with helpers",
			files: []string{"app.js", `export default function ({ body, query, cookies }, res) { res.status(202).json({ body, query, cookies }); }`},
			path:  "/?a=1&b=2&b=3", method: "POST", send: `{"n":1}`, header: []string{"Content-Type", "application/json", "Cookie", "c=d=e; f"},
			status: 202, want: `{"body":{"n":1},"query":{"a":"1","b":["2","3"]},"cookies":{"c":"d=e"}}`,
		},
		{
			name:   "(req, res) with a body that is not JSON",
			files:  []string{"app.js", `export default (req, res) => res.send(req.body)`},
			method: "POST", send: `{`, header: []string{"Content-Type", "application/json"}, status: 400, want: "the request's body is not JSON",
		},
		{name: "(req, res) that reads its body", files: []string{"app.js", `export default (req, res) => { let body = ""; req.on("data", (d) => (body += d)).on("end", () => res.end(body)); }`}, method: "POST", send: "read", want: "read"},
		{name: "an app with a Lambda handler", files: []string{"app.js", `const app = (req, res) => res.end("app"); module.exports = app; module.exports.handler = async (event) => ({});`}, want: "app"},
		{name: "fetch beside a Lambda handler", files: []string{"app.js", `module.exports = { handler: async (event) => { return {}; }, fetch: () => new Response("fetch") };`}, want: "fetch"},
		{name: "code for several runtimes", files: []string{"app.mjs", "const fetch = () => new Response(\"node\");\nif (globalThis.Deno) {\n  Deno.serve(fetch);\n}\nexport default { fetch };"}, want: "node"},
		{name: "(request, context)", files: []string{"app.js", `export default (request, context) => typeof context.waitUntil`}, want: "function"},
		{name: "a method's export", files: []string{"app.js", `export const GET = () => "get"; export async function POST(request) { return await request.text(); }`}, method: "POST", send: "post", want: "post"},
		{name: "a method without an export", files: []string{"app.js", `exports.GET = () => "get"`}, method: "DELETE", status: 405},
		{name: "a default export that also listens", files: []string{"app.mjs", serve + `server.listen(0, "127.0.0.1"); export default () => "function";`}, want: "function"},
		{name: "exports that also listen", files: []string{"app.js", `require("http").createServer().listen(0, "127.0.0.1"); module.exports = () => "function";`}, want: "function"},
		{name: "a program with a default export", files: []string{"app.mjs", serve + `server.listen({ path: process.env.MAYFLY_SOCKET }); export default () => "function";`}, want: "its own"},
		{name: "a program that listens late", files: []string{"app.js", `const server = require("http").createServer((req, res) => res.end("late")); setTimeout(() => server.listen(process.env.MAYFLY_SOCKET), 10); module.exports = { server };`}, want: "late"},
		{name: "a method that Node.js does not know", files: []string{"app.js", `export default () => "function"`}, method: "FOO", status: 501, want: `{"title":"Not Implemented","status":501,"detail":"Node.js does not support this method"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := startJavaScript(t, writeFiles(t, tt.files...))
			method, status := tt.method, tt.status
			if method == "" {
				method = "GET"
			}
			if status == 0 {
				status = 200
			}
			res, got := n.do(t, method, "/"+strings.TrimPrefix(tt.path, "/"), tt.send, tt.header...)
			if res.StatusCode != status || !strings.HasPrefix(got, tt.want) {
				t.Errorf("%d %q, want %d %q", res.StatusCode, got, status, tt.want)
			}
		})
	}
}

func TestJavaScriptNamesOtherPlatformsForms(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, file, text, message, hint string }{
		{"Lambda", "a.mjs", `export const handler = async (event) => ({ statusCode: 200, body: "x" })`, "a.mjs exports handler but has no default export", "export default async (request)"},
		{"Lambda in CommonJS", "a.js", `exports.handler = async (event) => ({ statusCode: 200, body: "x" })`, "a.js exports handler but has no default export", "module.exports = async (request)"},
		{"Lambda that fetches", "a.js", `module.exports = { handler: async (event) => fetch("http://x") }`, "a.js exports handler but has no default export", "module.exports = async (request)"},
		{"Deno in a function", "a.mjs", "function main() {\n  Deno.serve(() => new Response());\n}\nmain();", "a.mjs calls Deno.serve(...), which Node.js does not have", "export default { fetch(request)"},
		{"OpenFaaS", "a.js", `"use strict"; module.exports = async (event, context) => context.status(200).succeed(event.body)`, "a.js has the handler (event, context) of another platform", "module.exports = async (request) =>"},
		{"OpenFaaS, named", "a.mjs", `export function handle(event, context) {}`, "a.mjs exports handle but has no default export", "export default"},
		{"a default (event, context)", "a.mjs", `export default async function handler(event, context) { return { statusCode: 200 } }`, "a.mjs has the handler (event, context) of another platform", "export default async (request) =>"},
		{"a service worker", "a.js", `addEventListener("fetch", (event) => event.respondWith(new Response("x")))`, `a.js calls addEventListener("fetch"...), which Node.js does not have`, "export default { fetch(request)"},
		{"Deno", "a.ts", "import { x } from \"./a.ts\";\nDeno.serve((request: Request) => new Response(x)); export const x = 1", "a.ts calls Deno.serve(...), which Node.js does not have", "export default { fetch(request)"},
		{"Pages", "a.js", `export function onRequest(context) {}`, "a.js exports onRequest but has no default export", "export default (request, context) =>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := shim.JavaScript(t.Context(), shim.JavaScriptOptions{Entry: writeFiles(t, tt.file, tt.text), Out: t.TempDir()})
			e, ok := errors.AsType[*mayfly.Error](err)
			if !ok || e.Code != mayfly.Invalid || e.Message != tt.message || !strings.Contains(e.Hint, tt.hint) {
				t.Errorf("error %v, hint %q, want %q, %q", err, mayfly.HintOf(err), tt.message, tt.hint)
			}
		})
	}
}
