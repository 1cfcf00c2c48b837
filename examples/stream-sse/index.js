// Server-sent events: one every 100 ms, for as long as the client listens.
import { setInterval } from "node:timers/promises";

export default () => new Response(events(), { headers: { "Content-Type": "text/event-stream" } });

async function* events() {
  let sent = 0;
  try {
    for await (const _ of setInterval(100)) yield `data: event ${++sent}\n\n`;
  } finally {
    console.log(`client disconnected after ${sent} events`);
  }
}
