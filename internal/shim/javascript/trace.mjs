// What an error says, for the log and for the caller.

import { inspect } from "node:util";

// traceOf returns an error with its stack and causes, without the frames that are
// not the user's, and with files named from the function's folder.
export function traceOf(error) {
  const root = new URL("..", import.meta.url).href; // the shim is one folder below the function
  const shim = new URL(".", import.meta.url).href;
  return inspect(error, { depth: 4 })
    .split("\n")
    .filter((line) => !/^\s+at /.test(line) || !(line.includes(shim) || line.includes("(node:internal/") || line.includes("at node:internal/")))
    .join("\n")
    .replaceAll(root, "")
    .replaceAll(decodeURIComponent(new URL(root).pathname), "");
}

// headlineOf returns an error in one line that may be a header's value: UTF-8
// bytes, because node:http writes one byte for each character.
export function headlineOf(error) {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : `thrown: ${inspect(error)}`;
  const line = text.replace(/[\0-\x1f\x7f]+/g, " ").slice(0, 500).trim();
  return Buffer.from(line).toString("latin1");
}
