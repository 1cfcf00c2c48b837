// A Worker with CORS of its own.
import answer from "./answer.js";

const cors = {
  "Access-Control-Allow-Origin": process.env.PAGE,
  "Access-Control-Allow-Credentials": "true",
  "Access-Control-Allow-Headers": "Content-Type, X-Team",
  "Access-Control-Expose-Headers": "X-Total",
};

export default {
  async fetch(request) {
    if (request.method === "OPTIONS") return new Response(null, { status: 204, headers: cors });
    const response = await answer(request);
    for (const [name, value] of Object.entries(cors)) response.headers.set(name, value);
    return response;
  },
};
