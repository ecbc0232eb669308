// Every symbol, a row each. A row is changed only where something has changed, at most once a frame.

import { choice, filterField, h, setText } from "./dom.js";
import { ago, chartPath, percent, price, volume, words } from "./format.js";
import { events, quotes, state } from "./store.js";

const ORDERS = {
  movers: ["Movers", (a, b) => Math.abs(b.change_percent ?? 0) - Math.abs(a.change_percent ?? 0)],
  gainers: ["Gainers", (a, b) => (b.change_percent ?? -1e9) - (a.change_percent ?? -1e9)],
  losers: ["Losers", (a, b) => (a.change_percent ?? 1e9) - (b.change_percent ?? 1e9)],
  symbol: ["Symbol", () => 0],
  alert: ["Last alert", (a, b) => ((a.alert?.alert_id ?? "") < (b.alert?.alert_id ?? "") ? 1 : -1)],
  volume: ["Volume", (a, b) => (b.volume ?? -1) - (a.volume ?? -1)],
};
const REORDER_MS = 2000; // rows that jump about cannot be read
const TICK_MS = 1000;

export function marketView(asked) {
  let order = asked.get("sort") in ORDERS ? asked.get("sort") : "movers";
  let filter = asked.get("filter") ?? "";
  const rows = new Map();
  const changed = new Set();
  const body = h("tbody");
  const shown = h("span", { class: "muted", role: "status" });
  const summary = h("span", { class: "muted summary" });
  const empty = h("p", { class: "empty" });
  const head = h("tr", {},
    heading("Symbol", "symbol"), heading("Price", "", "number"), heading("Change", "movers", "number"),
    heading("Trend", "", "centre"), heading("Recent", "", "wide"), heading("Volume", "volume", "number roomy"),
    heading("Last alert", "alert"), heading("Updated", "", "number roomy"));
  const table = h("table", { class: "market" }, h("thead", {}, head), body);
  const sort = choice("Sort by", Object.entries(ORDERS).map(([name, [text]]) => [name, text]), order, setOrder);
  const element = h("section", { "aria-label": "Market" },
    h("div", { class: "bar" },
      h("h1", {}, "Market"), summary, h("span", { class: "spring" }),
      shown, filterField("Filter symbols", filter, (text) => { filter = text; remember(); arrange(); }),
      h("label", { class: "sort" }, "Sort ", sort)),
    h("div", { class: "card" }, table, empty));

  function heading(text, name, kind = "") {
    if (!name) return h("th", { scope: "col", class: kind }, text);
    return h("th", { scope: "col", class: kind, data: { sort: name } },
      h("button", { type: "button", class: "plain", onclick: () => setOrder(name) }, text));
  }

  function setOrder(name) {
    order = name;
    sort.value = name;
    remember();
    arrange();
  }

  /** Keep the choice in the address, so that a link opens the same view. */
  function remember() {
    const query = new URLSearchParams();
    if (order !== "movers") query.set("sort", order);
    if (filter) query.set("filter", filter);
    history.replaceState(null, "", query.size ? `/?${query}` : "/");
  }

  function rowOf(symbol) {
    if (!rows.has(symbol)) rows.set(symbol, new Row(symbol));
    return rows.get(symbol);
  }

  /** Put the rows that fit the filter into their order. */
  function arrange() {
    const wanted = filter.toUpperCase();
    const compare = ORDERS[order][1];
    const fitting = [...quotes.values()]
      .filter((quote) => quote.symbol.toUpperCase().includes(wanted))
      .sort((a, b) => compare(a, b) || (a.symbol < b.symbol ? -1 : 1));
    for (const quote of fitting) if (!rows.has(quote.symbol)) rowOf(quote.symbol).show(quote);
    const elements = fitting.map((quote) => rowOf(quote.symbol).element);
    if (elements.length !== body.children.length || elements.some((row, place) => body.children[place] !== row)) {
      const focused = body.contains(document.activeElement) ? document.activeElement : null;
      body.replaceChildren(...elements);
      focused?.focus({ preventScroll: true });
    }
    for (const cell of head.children) {
      if (cell.dataset.sort) cell.setAttribute("aria-sort", cell.dataset.sort === order ? (order === "symbol" ? "ascending" : "descending") : "none");
    }
    setText(shown, wanted ? `${fitting.length} of ${quotes.size}` : "");
    setText(empty, quotes.size ? (fitting.length ? "" : `No symbol has “${filter}” in its name.`) : state.loaded ? "" : "Waiting for the first ticks …");
    summarize();
  }

  function summarize() {
    const all = [...quotes.values()];
    const up = all.filter((quote) => quote.change_percent > 0).length;
    const down = all.filter((quote) => quote.change_percent < 0).length;
    setText(summary, all.length ? `${all.length} symbols · ${up} up · ${down} down` : "");
  }

  function draw() {
    frame = 0;
    for (const symbol of changed) {
      const quote = quotes.get(symbol);
      if (quote) rowOf(symbol).show(quote);
    }
    changed.clear();
    if (quotes.size !== body.children.length && !filter) arrange();
  }

  let frame = 0;
  const note = (symbols) => {
    for (const symbol of symbols) changed.add(symbol);
    frame ||= requestAnimationFrame(draw);
  };
  const listening = new AbortController();
  const on = (name, take) => events.addEventListener(name, take, { signal: listening.signal });
  on("everything", () => { note(quotes.keys()); arrange(); });
  on("quotes", ({ detail }) => note(detail.map((quote) => quote.symbol)));
  on("alerts", ({ detail }) => note(detail.map((alert) => alert.symbol)));
  const reordering = setInterval(() => { if (!body.contains(document.activeElement)) arrange(); }, REORDER_MS);
  const ticking = setInterval(() => { const now = Date.now(); for (const row of rows.values()) row.age(now); }, TICK_MS);
  note(quotes.keys());
  arrange();

  return {
    name: "market",
    element,
    close() { listening.abort(); clearInterval(reordering); clearInterval(ticking); cancelAnimationFrame(frame); },
  };
}

class Row {
  constructor(symbol) {
    this.price = h("td", { class: "number price" });
    this.change = h("td", { class: "number" });
    this.trend = h("td", { class: "centre trend" });
    this.line = h("svg:path", {});
    this.volume = h("td", { class: "number muted roomy" });
    this.alert = h("a", { class: "alert-link", tabindex: "-1" });
    this.updated = h("td", { class: "number muted roomy" });
    const spark = h("svg:svg", { class: "spark", viewBox: "0 0 120 28", preserveAspectRatio: "none", "aria-hidden": "true" }, this.line);
    this.element = h("tr", { data: { symbol } },
      h("th", { scope: "row" }, h("a", { href: chartPath(symbol) }, symbol)),
      this.price, this.change, this.trend, h("td", { class: "wide" }, spark), this.volume,
      h("td", { class: "last-alert" }, this.alert), this.updated);
  }

  show(quote) {
    this.quote = quote;
    const direction = quote.change_percent > 0 ? "up" : quote.change_percent < 0 ? "down" : "";
    if (this.price.textContent && quote.moved) this.flash(quote.moved > 0 ? "up" : "down");
    quote.moved = 0;
    setText(this.price, price(quote.price));
    setText(this.change, percent(quote.change_percent));
    this.change.className = `number ${direction}`;
    setText(this.trend, quote.trend === "up" ? "▲" : quote.trend === "down" ? "▼" : "·");
    this.trend.className = `centre trend ${quote.trend ?? ""}`;
    this.trend.setAttribute("aria-label", quote.trend ? `trend ${quote.trend}` : "no trend");
    this.line.setAttribute("d", path(quote.spark));
    this.line.setAttribute("class", quote.spark.at(-1) >= quote.spark[0] ? "up" : "down");
    setText(this.volume, volume(quote.volume));
    this.showAlert(quote.alert);
    this.age(Date.now());
  }

  showAlert(alert) {
    if (this.alertId === alert?.alert_id) return;
    this.alertId = alert?.alert_id;
    if (!alert) return;
    this.alert.href = chartPath(alert.symbol, `?at=${alert.timestamp}`);
    this.alert.title = alert.message;
    this.alert.replaceChildren(h("span", { class: `dot ${alert.severity}` }), words(alert.rule));
  }

  age(now) {
    const arrived = this.quote?.arrived_at ?? this.quote?.timestamp;
    if (arrived) setText(this.updated, ago(new Date(arrived), now));
  }

  /** Let the price light up for a moment. */
  flash(direction) {
    this.price.classList.remove("flash-up", "flash-down");
    requestAnimationFrame(() => this.price.classList.add(`flash-${direction}`));
  }
}

/** Draw prices as a line into 120 × 28. */
function path(prices) {
  if (prices.length < 2) return "";
  const low = Math.min(...prices), high = Math.max(...prices), step = 120 / (prices.length - 1);
  const y = (value) => (high > low ? 26 - ((value - low) / (high - low)) * 24 : 14).toFixed(1);
  return `M${prices.map((value, place) => `${(place * step).toFixed(1)} ${y(value)}`).join("L")}`;
}
