// Functions used from another origin, as in a frontend that Vite serves.
const api = new URLSearchParams(location.search).get("api") ?? "http://localhost:8080";
const said = document.querySelector("#said");

async function post(path, body, headers = {}) {
  const response = await fetch(api + path, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    credentials: "include", // the cart's cookie
    body: JSON.stringify(body),
  });
  said.append(JSON.stringify(await response.json()), "\n");
}

function ask(prompt) {
  const events = new EventSource(`${api}/fn/tokens?prompt=${encodeURIComponent(prompt)}`);
  events.onmessage = ({ data }) => {
    if (data !== "[DONE]") return said.append(JSON.parse(data).choices[0].delta.content);
    events.close(); // or it connects again
    said.append("\n");
  };
}

document.querySelector("#order").onclick = () => post("/fn/express/orders", { item: "tea", cups: 2 });
document.querySelector("#add").onclick = () => post("/fn/cart", { item: "tea" }, { "X-Shop": "north" });
document.querySelector("#ask").onclick = () => ask("tea");
