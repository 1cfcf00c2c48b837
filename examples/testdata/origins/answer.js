const { SITE = "Lax" } = process.env; // "None; Secure" for pages of other sites

export default async (request) => {
  const cookie = request.headers.get("Cookie") ?? "none";
  if (new URL(request.url).pathname === "/events") {
    return new Response(events(cookie), { headers: { "Content-Type": "text/event-stream" } });
  }
  return new Response(
    `${request.method} ${await request.text()}, team ${request.headers.get("X-Team")}, cookie ${cookie}`,
    { headers: { "Set-Cookie": `seen=yes; Path=/; HttpOnly; SameSite=${SITE}`, "X-Total": "7" } },
  );
};

async function* events(cookie) {
  for (const data of ["one", "two", `cookie ${cookie}`, "end"]) yield `data: ${data}\n\n`;
}
