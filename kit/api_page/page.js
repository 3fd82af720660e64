// Shows the service's own description. Only GETs can be tried out: a click must neither restore nor delete anything.
"use strict";

const dark = window.matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

const page = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  filter: true,
  supportedSubmitMethods: ["get"],
  validatorUrl: null,
  onComplete: () => {
    document.title = document.querySelector("#api h1, #api h2")?.firstChild?.textContent ?? "API";
    form.hidden = !page.specSelectors.specJson().hasIn(["paths", "/login"]);
  },
});

// The session comes as a cookie that no script can read; the browser sends it with what is tried out.
const form = document.getElementById("login");

async function ask(path, body, done) {
  const told = form.querySelector("output");
  told.textContent = "…";
  try {
    const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body });
    told.textContent = answer.ok ? done : (await answer.json()).message;
  } catch (error) {
    told.textContent = String(error);
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const { username, password } = form.elements;
  ask("/login", JSON.stringify({ username: username.value, password: password.value }), `Logged in as ${username.value}.`);
  password.value = "";
});
document.getElementById("logout").addEventListener("click", () => ask("/logout", "{}", "Logged out."));
