// Shows the service's own description. Only GETs can be tried out: a click must neither restore nor delete anything.
"use strict";

const dark = window.matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

// The session comes as a cookie that no script can read; the browser sends it with what is tried out.
const form = document.getElementById("login");
const told = form.querySelector("output");
const USER = "helenus-user"; // who logged in here last; whether the session still lives an answer tells

async function show() {
  const url = "/openapi.json";
  const spec = await (await fetch(url)).json();
  form.hidden = !("/login" in spec.paths);
  if (!form.hidden) await fill(spec).catch((error) => (told.textContent = String(error)));
  const page = SwaggerUIBundle({
    spec,
    dom_id: "#api",
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    filter: true,
    supportedSubmitMethods: ["get"],
    validatorUrl: null,
    onComplete: () => {
      document.title = spec.info.title;
    },
  });
  page.specActions.updateUrl(url);
}

// Says who is logged in, and fills in this service's cluster instead of the description's example; a stranger's field is
// left empty.
async function fill(spec) {
  const answer = await fetch("/cluster-configs");
  const user = localStorage.getItem(USER);
  if (user !== null && answer.ok) told.textContent = `Logged in as ${user}.`;
  if (user !== null && answer.status === 401) told.textContent = `The session of ${user} is over.`;
  const { example, ...cluster } = spec.components.parameters.Cluster;
  const [first] = answer.ok ? Object.keys(await answer.json()) : [];
  spec.components.parameters.Cluster = first === undefined ? cluster : { ...cluster, example: first };
}

async function ask(path, body, done) {
  told.textContent = "…";
  try {
    const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body });
    if (!answer.ok) {
      told.textContent = (await answer.json()).message;
      return;
    }
    done();
    location.reload();
  } catch (error) {
    told.textContent = String(error);
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const { username, password } = form.elements;
  const user = username.value;
  ask("/login", JSON.stringify({ username: user, password: password.value }), () => localStorage.setItem(USER, user));
  password.value = "";
});
document.getElementById("logout").addEventListener("click", () => ask("/logout", "{}", () => localStorage.removeItem(USER)));
show().catch((error) => {
  document.getElementById("api").textContent = String(error);
});
