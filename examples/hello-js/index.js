// A function is a module's default export. It gets a Request, as in the Fetch API,
// and returns the response: text, an object (sent as JSON) or a Response.
export default (request) => {
  const name = new URL(request.url).searchParams.get("name") ?? "world";
  return `Hello, ${name}!\n`;
};
