// Clicks the buttons of the site's own page, as /tasks lists them, and reports what that says.
const frame = document.querySelector("iframe");
const { page, buttons } = await (await fetch("/tasks")).json();
frame.src = page;
await new Promise((loaded) => (frame.onload = loaded));
const said = frame.contentDocument.querySelector("#said");

for (const [i, id] of buttons.entries()) {
  const more = new Promise((done) => {
    new MutationObserver(() => said.textContent.split("\n").length > i + 1 && done()).observe(said, { childList: true });
  });
  frame.contentDocument.querySelector(id).click();
  await more;
}
await fetch("/seen", { method: "POST", body: JSON.stringify(said.textContent) });
