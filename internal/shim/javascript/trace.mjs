// What an error says, for the log and for the caller.

import { dirname, sep } from "node:path";
import { pathToFileURL } from "node:url";
import { inspect } from "node:util";

// The shim is bundled into one file of CommonJS, one folder below the function.
const shim = __dirname + sep;
const root = dirname(__dirname) + sep;

// traceOf returns an error with its stack and causes, without the frames that are
// not the user's, and with files named from the function's folder.
export function traceOf(error) {
  return ownFrames(inspect(error, { depth: 4 }).split("\n"))
    .join("\n")
    .replaceAll(pathToFileURL(root).href, "")
    .replaceAll(root, "");
}

const glue = /^\s+at __\w+ \(.*\bfunction\.[cm]js:/; // by which a bundle loads its modules

// ownFrames leaves out the shim's frames, the bundle's own, Node's internal ones, and
// all others that stand below the user's last one: Node called the shim, not the user.
function ownFrames(lines) {
  const kept = [];
  let below = true;
  let brace = ""; // of a frame that was left out: properties of the error follow it
  for (const line of lines.reverse()) {
    if (!/^\s+at /.test(line)) {
      below = true;
    } else if (line.includes(shim) || glue.test(line) || /\bnode:internal\//.test(line) || (below && /\bnode:|<anonymous>\)?( \{)?$/.test(line))) {
      if (line.endsWith(" {")) brace = " {";
      continue;
    } else {
      below = false;
    }
    kept.push(line + brace);
    brace = "";
  }
  return kept.reverse();
}

// headlineOf returns an error in one line that may be a header's value: UTF-8
// bytes, because node:http writes one byte for each character.
export function headlineOf(error) {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : `thrown: ${inspect(error)}`;
  const line = text.replace(/[\0-\x1f\x7f]+/g, " ").slice(0, 500).trim();
  return Buffer.from(line).toString("latin1");
}
