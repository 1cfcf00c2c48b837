// The Workers form: an object with fetch. Types are for the editor; they are
// stripped, not checked, so a save is live at once.
interface Greeting {
  hello: string;
  from: string;
}

export default {
  async fetch(request: Request): Promise<Response> {
    const greeting: Greeting = { hello: "world", from: "TypeScript" };
    if (request.method === "POST") greeting.hello = await request.text();
    return Response.json(greeting);
  },
};
