"use strict";
const radii = new Map(JSON.parse(document.getElementById("data").textContent).map((r) => [r.workload, r]));
const boxes = [...document.querySelectorAll("svg .workload")];
const marked = [...document.querySelectorAll("tr[data-workload], .decision[data-workload]")];
const machines = [...document.querySelectorAll("svg .machine")];
const flows = [...document.querySelectorAll("svg .flow")];
const told = document.getElementById("told");
let chosen = null;

function describe(radius) {
  const falls = Object.entries(radius.falls).map(([name, way]) => (way ? `${name} (through ${way})` : name));
  return `If ${radius.workload} is compromised: ` +
    (falls.length ? `${falls.join("; ")} ${falls.length === 1 ? "falls" : "fall"} with it` : "nothing falls with it") +
    (radius.exposed.length ? `; ${radius.exposed.join(", ")} can be talked to.` : "; nothing else is exposed.");
}

function choose(name) {
  chosen = name === chosen ? null : name;
  const radius = radii.get(chosen);
  for (const box of boxes) {
    const workload = box.dataset.workload;
    box.setAttribute("aria-pressed", String(workload === chosen));
    box.classList.toggle("falls", Boolean(radius && workload in radius.falls));
    box.classList.toggle("exposed", Boolean(radius && radius.exposed.includes(workload)));
  }
  for (const machine of machines) {
    machine.classList.toggle("held", Boolean(radius && machine.dataset.machines.split(" ").some((name) => radius.machines.includes(name))));
  }
  for (const { dataset: { source, target }, classList } of flows) {
    const fallen = radius && (source === chosen || source in radius.falls);
    classList.toggle("open", Boolean(fallen && radius.exposed.includes(target)));
  }
  for (const element of marked) element.classList.toggle("chosen", element.dataset.workload === chosen);
  told.textContent = radius ? describe(radius) : "Nothing chosen.";
}

for (const box of boxes) {
  box.addEventListener("click", () => choose(box.dataset.workload));
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    choose(box.dataset.workload);
  });
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && chosen) choose(chosen);
});

const theme = document.getElementById("theme");
const dark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";
const nameTheme = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
theme.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  nameTheme();
});
dark.addEventListener("change", nameTheme);
nameTheme();
theme.hidden = false;

let reopened = [];
addEventListener("beforeprint", () => {
  reopened = [...document.querySelectorAll("details:not([open])")];
  for (const details of reopened) details.open = true;
});
addEventListener("afterprint", () => { for (const details of reopened) details.open = false; });
