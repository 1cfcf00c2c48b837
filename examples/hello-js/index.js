// A function is what a module exports by default. It gets the Request that fetch
// knows, and what it returns is the answer: text, an object as JSON, a Response.
export default (request) => {
  const name = new URL(request.url).searchParams.get("name") ?? "world";
  return `Hello, ${name}!\n`;
};
