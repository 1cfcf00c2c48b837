// A cart that lives in a cookie, for a page of another origin: `cors:` in mayfly.yaml lets it in.
export default async (request) => {
  const cookie = request.headers.get("Cookie") ?? "";
  const items = JSON.parse(decodeURIComponent(/(?:^|; )cart=([^;]*)/.exec(cookie)?.[1] ?? "[]"));
  if (request.method === "POST") items.push((await request.json()).item);
  const value = encodeURIComponent(JSON.stringify(items));
  return Response.json(
    { shop: request.headers.get("X-Shop"), items },
    { headers: { "Set-Cookie": `cart=${value}; Path=/; HttpOnly; SameSite=Lax` } },
  );
};
