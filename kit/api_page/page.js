// Shows the service's own description. Only GETs can be tried out: a click must neither restore nor delete anything.
"use strict";

const dark = window.matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  filter: true,
  supportedSubmitMethods: ["get"],
  validatorUrl: null,
  onComplete: () => { document.title = document.querySelector("#api h1, #api h2")?.firstChild?.textContent ?? "API"; },
});
