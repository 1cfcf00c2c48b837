// A webhook as GitHub signs it: HMAC-SHA256 of the body's bytes, compared in constant time.
import { createHmac, timingSafeEqual } from "node:crypto";

export default async (request, { env }) => {
  const body = Buffer.from(await request.arrayBuffer()); // the bytes that were signed, not parsed JSON
  const want = Buffer.from("sha256=" + createHmac("sha256", env.WEBHOOK_SECRET).update(body).digest("hex"));
  const got = Buffer.from(request.headers.get("X-Hub-Signature-256") ?? "");
  if (got.length !== want.length || !timingSafeEqual(got, want)) {
    return new Response("wrong signature\n", { status: 401 });
  }
  return `${request.headers.get("X-GitHub-Event")}: ${body.length} bytes, signed\n`;
};
