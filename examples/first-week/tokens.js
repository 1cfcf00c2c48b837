// Tokens as a language model streams them: server-sent events in the form of OpenAI's chat completions.
import { setTimeout } from "node:timers/promises";

export default (request) => {
  const prompt = new URL(request.url).searchParams.get("prompt") ?? "nothing";
  return new Response(answer(prompt), { headers: { "Content-Type": "text/event-stream" } });
};

async function* answer(prompt) {
  for (const content of `You asked for ${prompt}.`.split(/(?= )/)) {
    yield `data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\n\n`;
    await setTimeout(50);
  }
  yield "data: [DONE]\n\n";
}
