// All alerts, newest first, with filters. What can be filtered by comes from the alerts themselves.

import { choice, filterField, h, setOptions, setText } from "./dom.js";
import { ago, chartPath, time, words } from "./format.js";
import { isPossible, leastSeverity, setNotifications, wantsNotifications } from "./notify.js";
import { alerts, events } from "./store.js";

const SEVERITIES = [["", "all severities"], ["info", "info and above"], ["warning", "warning and above"], ["critical", "critical"]];
const RANK = { info: 0, warning: 1, critical: 2 };
const SHOWN = 200;
const kindOf = (alert) => alert.kind ?? "signal";

export function alertsView(asked) {
  const wanted = { severity: "", rule: "", kind: "", symbol: "" };
  for (const name of Object.keys(wanted)) wanted[name] = asked.get(name) ?? "";
  const list = h("ol", { class: "alerts", reversed: true });
  const empty = h("p", { class: "empty" });
  const shown = h("span", { class: "muted", role: "status" });
  const rule = choice("Rule", [], wanted.rule, (value) => set("rule", value));
  const kind = choice("Kind", [], wanted.kind, (value) => set("kind", value));
  const bell = h("button", { type: "button", class: "button", onclick: ring });
  const element = h("section", { "aria-label": "Alerts" },
    h("div", { class: "bar" },
      h("h1", {}, "Alerts"), shown, h("span", { class: "spring" }),
      choice("Severity", SEVERITIES, wanted.severity, (value) => set("severity", value)), rule, kind,
      filterField("Filter symbols", wanted.symbol, (value) => set("symbol", value)),
      isPossible() ? bell : null),
    h("div", { class: "card" }, list, empty));

  function set(name, value) {
    wanted[name] = value;
    const query = new URLSearchParams(Object.entries(wanted).filter(([, chosen]) => chosen));
    history.replaceState(null, "", query.size ? `/alerts?${query}` : "/alerts");
    arrange();
  }

  const fits = (alert) =>
    (!wanted.severity || (RANK[alert.severity] ?? 0) >= RANK[wanted.severity]) &&
    (!wanted.rule || alert.rule === wanted.rule) && (!wanted.kind || kindOf(alert) === wanted.kind) &&
    alert.symbol.toUpperCase().includes(wanted.symbol.toUpperCase());

  async function ring() {
    await setNotifications(wantsNotifications() ? "" : wanted.severity || "info");
    showBell();
  }

  function showBell() {
    const isOn = wantsNotifications();
    bell.setAttribute("aria-pressed", isOn);
    setText(bell, isOn ? `Notifying: ${leastSeverity()} and above` : "Notify me");
  }

  const items = new Map();
  function itemOf(alert) {
    const key = `${alert.symbol} ${alert.alert_id}`;
    if (!items.has(key)) items.set(key, item(alert));
    return items.get(key);
  }

  function arrange() {
    const options = (all, of) => [["", all], ...[...new Set(alerts.map(of))].sort().map((name) => [name, words(name)])];
    setOptions(rule, options("all rules", (alert) => alert.rule), wanted.rule);
    setOptions(kind, options("all kinds", kindOf), wanted.kind);
    kind.hidden = kind.options.length < 3 && !wanted.kind;
    const fitting = alerts.filter(fits);
    list.replaceChildren(...fitting.slice(0, SHOWN).map(itemOf));
    setText(shown, fitting.length > SHOWN ? `the newest ${SHOWN} of ${fitting.length}` : `${fitting.length}`);
    setText(empty, fitting.length ? "" : alerts.length ? "No alert fits these filters." : "No alerts yet.");
  }

  const listening = new AbortController();
  for (const name of ["everything", "alerts"]) events.addEventListener(name, arrange, { signal: listening.signal });
  showBell();
  arrange();
  return { name: "alerts", title: "Alerts", element, close: () => listening.abort() };
}

/** Make the line of one alert; a click goes to its moment on the chart. */
export function item(alert) {
  return h("li", { class: alert.severity },
    h("a", { href: chartPath(alert.symbol, `?at=${alert.timestamp}`) },
      h("span", { class: `tag ${alert.severity}` }, alert.severity),
      h("span", { class: "symbol" }, alert.symbol),
      h("span", { class: "message" }, alert.message),
      h("span", { class: "rule muted" }, words(alert.rule), kindOf(alert) === "signal" ? "" : ` · ${kindOf(alert)}`),
      h("time", { class: "muted", datetime: alert.timestamp, title: `${alert.timestamp}, ${ago(new Date(alert.timestamp))} ago` }, time(alert.timestamp))));
}
