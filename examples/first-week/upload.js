// Files of a form (multipart/form-data), held in memory. examples/upload streams instead.
import { createHash } from "node:crypto";

export default async (request) => {
  const files = [];
  for (const [field, value] of await request.formData()) {
    if (typeof value === "string") continue; // a field without a file
    const hash = createHash("sha256").update(Buffer.from(await value.arrayBuffer()));
    files.push({ field, name: value.name, size: value.size, sha256: hash.digest("hex") });
  }
  return files;
};
