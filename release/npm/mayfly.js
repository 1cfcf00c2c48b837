#!/usr/bin/env node
// Runs the binary that npm installed for this platform, and ends as it does.
"use strict";
const { spawn } = require("node:child_process");

const name = `@mayfly-run/${process.platform}-${process.arch}`;
let binary;
try {
  binary = require.resolve(`${name}/bin/mayfly${process.platform === "win32" ? ".exe" : ""}`);
} catch {
  console.error(`mayfly: there is no binary for ${process.platform} ${process.arch}\nhint: install ${name}, without npm's --omit=optional`);
  process.exit(1);
}
const child = spawn(binary, process.argv.slice(2), { stdio: "inherit" });
// A terminal sends Ctrl-C to both. The binary decides when it ends; what is sent to this
// process alone is passed on.
process.on("SIGINT", () => {});
for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("error", (err) => {
  console.error(`mayfly: ${err.message}`);
  process.exit(1);
});
child.on("exit", (code, signal) => {
  if (!signal) process.exit(code);
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
});
