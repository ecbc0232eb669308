/* global applyTheme */
// The frame around the views: which one is open, keys, theme, connection, problems.

import { h, setText } from "./dom.js";
import { alerts, events, keepWhileHidden, state, want } from "./store.js";
import { notifyOf, wantsNotifications } from "./notify.js";
import { alertsView } from "./alerts.js";
import { marketView } from "./market.js";
import { pipelineView } from "./pipeline.js";
import { symbolView } from "./symbol.js";

const main = document.getElementById("view");
const unseenBadge = document.getElementById("unseen");
let view = null; // { name, element, close(), key(event) }
let unseen = 0;
const CLOCKS_MS = 5000; // the consumer's clock and the browser's may differ so much

/** Open the address that the browser shows; the view that was open ends. */
function open() {
  const address = new URL(location.href);
  view?.close?.();
  view = viewOf(address);
  want(view.wants ?? "");
  main.replaceChildren(view.element);
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === view.name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = view.title ? `${view.title} · Tickertape` : "Tickertape";
  if (view.name === "alerts") setUnseen(0);
}

function viewOf(address) {
  const [, first, ...rest] = address.pathname.split("/");
  if (first === "symbol" && rest.length) return symbolView(decodeURIComponent(rest.join("/")).toUpperCase(), address.searchParams);
  if (first === "alerts") return alertsView(address.searchParams);
  if (first === "pipeline") return pipelineView();
  return marketView(address.searchParams);
}

/** Go to another view of the page without loading it anew. */
export function go(path) {
  history.pushState(null, "", path);
  open();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='/']");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  go(link.getAttribute("href"));
});
addEventListener("popstate", open);

// ---------------------------------------------------------------- keys
const PLACES = { m: "/", a: "/alerts", p: "/pipeline" };
const help = document.getElementById("help");

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const field = event.target.closest("input, select, textarea, dialog");
  if (event.key === "Escape" && field?.matches("input")) {
    field.value = "";
    field.dispatchEvent(new Event("input"));
    field.blur();
    return;
  }
  if (field) return;
  if (event.key in PLACES) go(PLACES[event.key]);
  else if (event.key === "/") main.querySelector(".filter")?.focus();
  else if (event.key === "?") help.showModal();
  else if (event.key === "t") changeTheme();
  else if (event.key === "j" || event.key === "k") moveFocus(event.key === "j" ? 1 : -1);
  else if (event.key === "Escape") { if (view.name !== "market") go("/"); }
  else if (!view.key?.(event)) return;
  event.preventDefault();
});

function moveFocus(step) {
  const rows = [...main.querySelectorAll("tbody a, li > a")];
  const place = rows.indexOf(document.activeElement);
  rows[Math.min(Math.max(place + step, 0), rows.length - 1)]?.focus();
}
document.getElementById("keys").onclick = () => help.showModal();

// ---------------------------------------------------------------- theme
function changeTheme() {
  localStorage.setItem("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  showTheme();
}
function showTheme() {
  applyTheme(); // theme.js has it
  events.dispatchEvent(new Event("theme"));
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
document.getElementById("theme").onclick = changeTheme;

// ---------------------------------------------------------------- connection and problems
const connection = document.getElementById("connection");
const lost = document.getElementById("lost");
events.addEventListener("connection", () => {
  connection.classList.toggle("live", state.connected);
  setText(connection, state.connected ? "live" : "offline");
  lost.hidden = state.connected;
  setText(lost, state.connected ? "" : "The connection to the dashboard is lost. What you see is not live; trying again …");
});

const problems = document.getElementById("problems");
const health = document.getElementById("health");
const WORST = ["critical", "warning", "info"];
events.addEventListener("problems", () => {
  problems.replaceChildren(...state.problems.map(({ severity, text, hint }) =>
    h("p", { class: `problem ${severity}` }, h("strong", {}, text), hint ? ` ${hint}` : "")));
  const worst = WORST.find((severity) => state.problems.some((problem) => problem.severity === severity));
  health.hidden = !worst || worst === "info";
  health.className = `dot ${worst ?? ""}`;
  health.title = worst ? "Something is wrong" : "";
});

// ---------------------------------------------------------------- alerts that nobody has looked at
function setUnseen(number) {
  unseen = number;
  unseenBadge.hidden = !number;
  setText(unseenBadge, number > 99 ? "99+" : String(number));
  unseenBadge.setAttribute("aria-label", `${number} new`);
}
const opened = Date.now();
events.addEventListener("alerts", ({ detail }) => {
  // what the server has found late was sent before anybody looked here
  const fresh = detail.filter(({ published_at: sent }) => !sent || Date.parse(sent) > opened - CLOCKS_MS);
  if (view.name !== "alerts") setUnseen(unseen + fresh.length);
  notifyOf(fresh, go);
});
keepWhileHidden(wantsNotifications);

open();
