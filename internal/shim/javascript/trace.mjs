// How errors are shown in the log and to the caller.

import { dirname, sep } from "node:path";
import { pathToFileURL } from "node:url";
import { inspect } from "node:util";

// The shim is bundled into one CommonJS file, in a subfolder of the function's.
const shim = __dirname + sep;
const root = dirname(__dirname) + sep;

// traceOf returns an error with its stack and causes, without frames that are not the
// user's, and with files relative to the function's folder.
export function traceOf(error) {
  return ownFrames(inspect(error, { depth: 4 }).split("\n"))
    .join("\n")
    .replaceAll(pathToFileURL(root).href, "")
    .replaceAll(root, "");
}

const glue = /^\s+at __\w+ \(.*\bfunction\.[cm]js:/; // a bundle's module loader

// ownFrames drops the frames of the shim, the bundle and Node's internals, and all
// below the user's last frame: Node called the shim, not the user.
function ownFrames(lines) {
  const kept = [];
  let below = true;
  let brace = ""; // of a dropped frame: the error's properties follow it
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

// headlineOf returns an error as one line.
export function headlineOf(error) {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : `thrown: ${inspect(error)}`;
  return text.replace(/[\0-\x1f\x7f]+/g, " ").slice(0, 500).trim();
}
