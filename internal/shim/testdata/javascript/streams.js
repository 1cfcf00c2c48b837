// The function of the tests that watch streams begin, pause and end.
const left = new Map(); // by name: promises that a call began, and of how it ended

function noted(name) {
  if (!left.has(name)) {
    let begin, end;
    const began = new Promise((resolve) => (begin = resolve));
    const promise = new Promise((resolve) => (end = resolve));
    left.set(name, { began, begin, promise, end });
  }
  return left.get(name);
}

let pulled = 0;

const cases = {
  // events sends a chunk whenever /next is called.
  async *events() {
    try {
      for (let n = 0; ; n++) {
        yield `event ${n}\n`;
        await new Promise((resolve) => (cases.resume = resolve));
      }
    } finally {
      noted("events").end("returned");
    }
  },
  next() {
    cases.resume?.();
    return "next";
  },
  endless: () =>
    new Response(
      new ReadableStream({
        pull(controller) {
          pulled++;
          controller.enqueue(new Uint8Array(16384));
        },
        cancel(reason) {
          noted("endless").end(`cancelled: ${reason?.name}`);
        },
      }),
    ),
  *sync() {
    try {
      for (;;) yield "x".repeat(1000);
    } finally {
      noted("sync").end("returned");
    }
  },
  pulled: () => pulled,
  silent: () =>
    new Response(
      new ReadableStream({
        cancel(reason) {
          noted("silent").end(`cancelled: ${reason?.name}`);
        },
      }),
    ),
  hangs: (request) =>
    new Promise((resolve, reject) => {
      request.signal.addEventListener("abort", () => {
        noted("hangs").end(`aborted: ${request.signal.reason.name}`);
        reject(request.signal.reason);
      });
    }),
  async reads(request) {
    try {
      return await request.text();
    } catch (error) {
      noted("reads").end(`read: ${error.name}`);
      throw error;
    }
  },
  async readsStream(request) {
    try {
      for await (const _ of request.body);
    } catch (error) {
      noted("readsStream").end(`read: ${error.name}`);
      throw error;
    }
  },
  began: (request) => noted(new URL(request.url).searchParams.get("name")).began,
  ended: (request) => noted(new URL(request.url).searchParams.get("name")).promise,
};

export default {
  fetch(request, env, context) {
    const name = new URL(request.url).pathname.slice(1);
    noted(name).begin("began");
    return cases[name](request, env, context);
  },
};
