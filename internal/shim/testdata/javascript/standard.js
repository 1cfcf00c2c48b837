// The function of TestJavaScriptObjectsBehaveAsTheStandards: runs the same code on
// Node's own classes and on the shim's, and returns where they differ.

// Node's own: what fetch returns is of them, and they make the others.
const own = await fetch("data:text/plain,x");
const real = { Response: own.constructor, Headers: own.headers.constructor };
const light = { Response, Headers };

const forms = {
  headers: {
    "empty": (H) => [...new H()],
    "from an object": (H) => [...new H({ B: 1, a: "x" })],
    "from pairs": (H) => [...new H([["b", "1"], ["A", "2"], ["b", "3"]])],
    "from headers": (H) => [...new H(new H({ a: "1" }))],
    "from a map": (H) => [...new H(new Map([["a", "1"]]))],
    "from null": (H) => [...new H(null)],
    "from text": (H) => [...new H("a")],
    "from a short pair": (H) => [...new H([["a"]])],
    "from a long pair": (H) => [...new H([["a", "b", "c"]])],
    "get": (H) => { const h = new H({ A: "1" }); return [h.get("a"), h.get("A"), h.get("b")]; },
    "get a bad name": (H) => new H().get("a b"),
    "set": (H) => { const h = new H([["a", "1"], ["a", "2"]]); h.set("A", "3"); return [...h]; },
    "append": (H) => { const h = new H({ a: "1" }); h.append("A", "2"); return [h.get("a"), [...h]]; },
    "delete": (H) => { const h = new H({ a: "1", b: "2" }); h.delete("A"); return [...h]; },
    "has": (H) => [new H({ a: "" }).has("A"), new H().has("a")],
    "cookies": (H) => { const h = new H(); h.append("set-cookie", "a"); h.append("x", "y"); h.append("Set-Cookie", "b"); return [h.getSetCookie(), h.get("set-cookie"), [...h]]; },
    "set a cookie": (H) => { const h = new H([["set-cookie", "a"], ["set-cookie", "b"]]); h.set("set-cookie", "c"); return h.getSetCookie(); },
    "keys and values": (H) => { const h = new H({ b: "1", a: "2" }); return [[...h.keys()], [...h.values()], [...h.entries()]]; },
    "forEach": (H) => { const seen = []; new H({ b: "1", a: "2" }).forEach((v, k) => seen.push([k, v])); return seen; },
    "spaces around": (H) => new H({ a: " \t x y \r\n " }).get("a"),
    "line in a value": (H) => new H({ a: "x\r\ny" }),
    "nul in a value": (H) => new H({ a: "x\0y" }),
    "beyond Latin-1": (H) => new H({ a: "\u2713" }),
    "Latin-1": (H) => new H({ a: "\u00e9" }).get("a"),
    "empty name": (H) => new H({ "": "x" }),
    "bad name": (H) => new H({ "a:b": "x" }),
    "set a bad name": (H) => new H().set("\n", "x"),
    "undefined value": (H) => new H({ a: undefined }).get("a"),
    "symbol value": (H) => new H({ a: Symbol("x") }),
    "tag": (H) => Object.prototype.toString.call(new H()),
  },
  responses: {
    "empty": (R) => new R(),
    "null": (R) => new R(null),
    "text": (R) => new R("text"),
    "unicode": (R) => new R("\u2713\ud800"),
    "byte order mark": (R) => new R("\ufefftext"),
    "number": (R) => new R(5),
    "object": (R) => new R({}),
    "bytes": (R) => new R(new Uint8Array([104, 105])),
    "part of a buffer": (R) => new R(new Uint8Array([1, 104, 105, 2]).subarray(1, 3)),
    "buffer": (R) => new R(new Uint8Array([104]).buffer),
    "view": (R) => new R(new DataView(new Uint8Array([104, 105]).buffer, 1)),
    "copied bytes": (R) => { const b = new Uint8Array([104]); const r = new R(b); b[0] = 105; return r; },
    "blob": (R) => new R(new Blob(["b"], { type: "x/y" })),
    "search": (R) => new R(new URLSearchParams("a=b")),
    "stream": (R) => new R(new Blob(["s"]).stream()),
    "status": (R) => new R("", { status: 404, statusText: "Nope" }),
    "status as text": (R) => new R("", { status: "201" }),
    "low status": (R) => new R("", { status: 199 }),
    "high status": (R) => new R("", { status: 600 }),
    "no status": (R) => new R("", { status: NaN }),
    "bad reason": (R) => new R("", { statusText: "a\nb" }),
    "204": (R) => new R(null, { status: 204 }),
    "204 with a body": (R) => new R("x", { status: 204 }),
    "304 with empty text": (R) => new R("", { status: 304 }),
    "own type": (R) => new R("x", { headers: { "Content-Type": "a/b" } }),
    "other header": (R) => new R("x", { headers: { "X-A": "b" } }),
    "null init": (R) => new R("x", null),
    "json": (R) => R.json({ a: [1] }),
    "json with type": (R) => R.json(1, { status: 201, headers: { "content-type": "a/b" } }),
    "json of nothing": (R) => R.json(undefined),
    "redirect": (R) => R.redirect("http://x.test/a b"),
    "redirect with status": (R) => R.redirect("http://x.test", 308),
    "redirect with bad status": (R) => R.redirect("http://x.test", 200),
    "redirect to nowhere": (R) => R.redirect("nowhere"),
    "redirect is immutable": (R) => R.redirect("http://x.test").headers.set("a", "b"),
    "error": (R) => R.error(),
    "tag": (R) => Object.prototype.toString.call(new R()),
    "clone": (R) => new R("x", { status: 201, headers: { a: "b" } }).clone(),
    "clone of a stream": (R) => new R(new Blob(["s"]).stream()).clone(),
    "both clones": async (R) => { const r = new R("x"); const c = r.clone(); return [await r.text(), await c.text()]; },
    "clone after reading": async (R) => { const r = new R("x"); await r.text(); return r.clone(); },
    "read twice": async (R) => { const r = new R("x"); await r.text(); return r.text(); },
    "read nothing twice": async (R) => { const r = new R(); await r.text(); return r.text(); },
    "read after body": async (R) => { const r = new R("x"); r.body; return [r.bodyUsed, await r.text(), r.bodyUsed]; },
    "locked": async (R) => { const r = new R("x"); r.body.getReader(); return r.text(); },
    "json of text": async (R) => new R('{"a":1}').json(),
    "json of no json": async (R) => new R("x").json(),
    "arrayBuffer": async (R) => [...new Uint8Array(await new R("hi").arrayBuffer())],
    "blob of text": async (R) => { const b = await new R("x", { headers: { "content-type": "a/b" } }).blob(); return [b.type, b.size]; },
    "form": async (R) => [...(await new R(new URLSearchParams("a=b")).formData())],
    "form of text": async (R) => new R("x").formData(),
    "stream by hand": async (R) => { const seen = []; for await (const c of new R("hi").body) seen.push(...c); return seen; },
    "headers change": (R) => { const r = new R("x"); r.headers.set("content-type", "a/b"); return r; },
    "from another": async (R) => new R((await new R("x", { status: 201 })).body, new R("", { status: 202, headers: { a: "b" } })),
  },
  requests: {
    "method": (r) => r.method,
    "url": (r) => r.url,
    "headers": (r) => [...r.headers].filter(([name]) => name === "x-a" || name === "content-type"),
    "used": async (r) => { const before = r.bodyUsed; await r.text(); return [before, r.bodyUsed]; },
    "text": (r) => r.text(),
    "json": (r) => r.json(),
    "arrayBuffer": async (r) => [...new Uint8Array(await r.arrayBuffer())],
    "blob": async (r) => { const b = await r.blob(); return [b.type, b.size]; },
    "form": async (r) => [...(await r.formData())],
    "twice": async (r) => { await r.text(); return r.text(); },
    "body": async (r) => { const seen = []; if (r.body) for await (const c of r.body) seen.push(...c); return seen; },
    "text after body": async (r) => { r.body; return r.text(); },
    "text of a locked body": async (r) => { r.body?.getReader(); return r.text(); },
    "clone": async (r) => { const c = r.clone(); return [await c.text(), await r.text(), c.method, c.url]; },
    "clone after reading": async (r) => { await r.text(); return r.clone().text(); },
    "a new one of it": async (r) => { const n = new Request(r, { headers: { b: "c" } }); return [n.method, n.url, n.headers.get("b"), await n.text()]; },
    "a new one by it": async (r) => { const n = new Request("http://y.test/", r); return [n.method, n.url, n.headers.get("x-a"), await n.text()]; },
    "the rest": (r) => [r.cache, r.credentials, r.destination, r.duplex, r.integrity, r.keepalive, r.mode, r.redirect, r.referrer, r.referrerPolicy, r.signal.aborted],
    "tag": (r) => Object.prototype.toString.call(r),
  },
};

// outcome describes what code does: what it returns, or the kind of its error.
async function outcome(code, ...args) {
  try {
    return await describe(await code(...args));
  } catch (error) {
    return `throws ${error.name}`;
  }
}

async function describe(value) {
  if (!(value instanceof Response)) return value ?? null;
  const { status, statusText, ok, type, url, redirected, bodyUsed } = value;
  const hasBody = value.body !== null;
  return { status, statusText, ok, type, url, redirected, bodyUsed, hasBody, headers: [...value.headers], text: await value.text() };
}

async function compare(name, ours, theirs, differences) {
  const [a, b] = [JSON.stringify(await ours), JSON.stringify(await theirs)];
  if (a !== b) differences.push(`${name}: ${a}, Node's own: ${b}`);
}

export default async function (request) {
  const differences = [];
  const { pathname } = new URL(request.url);
  if (pathname.startsWith("/requests/")) {
    const name = decodeURIComponent(pathname.slice("/requests/".length));
    const body = request.headers.get("x-body") ?? undefined;
    const own = new Request(request.url, { method: request.method, headers: [...request.headers], body });
    await compare(name, outcome(forms.requests[name], request), outcome(forms.requests[name], own), differences);
    return differences;
  }
  if (pathname === "/requests") return Object.keys(forms.requests);
  for (const [name, code] of Object.entries(forms.headers)) {
    await compare(`Headers, ${name}`, outcome(code, light.Headers), outcome(code, real.Headers), differences);
  }
  for (const [name, code] of Object.entries(forms.responses)) {
    await compare(`Response, ${name}`, outcome(code, light.Response), outcome(code, real.Response), differences);
  }
  if (light.Response === real.Response || light.Headers === real.Headers) differences.push("compared with itself");
  return differences;
}
