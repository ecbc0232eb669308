// One symbol: its numbers, its chart, its alerts.

import { Chart } from "./chart.js";
import { item } from "./alerts.js";
import { h, setText } from "./dom.js";
import { chartPath, percent, price, time, volume } from "./format.js";
import { events, quotes } from "./store.js";

const SPANS = { hour: "Hour", day: "Day", month: "Month" };
const KEYS = { 1: "hour", 2: "day", 3: "month" };
const LIVE_POINTS = 5000;
const URL_DELAY_MS = 300;

export function symbolView(symbol, asked) {
  let span = asked.get("span") in SPANS ? asked.get("span") : "hour";
  let moment = asked.get("at"); // an alert's: what was around it, which does not move
  let zoom = asked.has("from") ? { min: Number(asked.get("from")), max: Number(asked.get("to")) } : null;
  let points = { t: [] }, found = [], waiting = [], ready = false, closed = false, remembering = 0;

  const name = h("h1", {}, symbol);
  const numbers = h("p", { class: "quote", "aria-live": "off" });
  const note = h("p", { class: "muted note", role: "status" });
  const plot = h("div", { class: "chart", role: "img", "aria-label": `Chart of ${symbol}` });
  const list = h("ol", { class: "alerts" });
  const trouble = h("div", { class: "empty", role: "status" }, "Reading …");
  const buttons = Object.entries(SPANS).map(([key, text]) =>
    h("button", { type: "button", class: "button", data: { span: key }, onclick: () => choose(key) }, text));
  const body = h("div", { class: "card" }, plot, note);
  const alertsCard = h("div", { class: "card" }, h("h2", {}, "Alerts in this span"), list);
  const element = h("section", { "aria-label": symbol },
    h("div", { class: "bar" }, h("a", { href: "/", class: "back", "aria-label": "Back to the market" }, "←"), name, numbers, h("span", { class: "spring" }),
      h("div", { class: "group", role: "group", "aria-label": "Span" }, ...buttons)),
    trouble, body, alertsCard);
  const chart = new Chart(plot, (range) => { zoom = range; remember(); });

  function choose(chosen) {
    span = chosen;
    moment = zoom = null;
    remember();
    read();
  }

  /** Keep what is shown in the address, so that a link opens the same view. */
  function remember() {
    clearTimeout(remembering);
    remembering = setTimeout(() => {
      if (closed) return;
      const query = new URLSearchParams();
      if (moment) query.set("at", moment);
      else if (span !== "hour") query.set("span", span);
      if (zoom) { query.set("from", zoom.min.toFixed(0)); query.set("to", zoom.max.toFixed(0)); }
      history.replaceState(null, "", chartPath(symbol, query.size ? `?${query}` : ""));
    }, URL_DELAY_MS);
  }

  async function read() {
    ready = false;
    waiting = [];
    showButtons();
    const query = new URLSearchParams({ symbol, ...(moment ? { at: moment } : { span }) });
    let answer, status;
    try {
      const response = await fetch(`/chart?${query}`);
      status = response.status;
      answer = await response.json();
    } catch { answer = { error: "The dashboard does not answer." }; }
    if (closed) return;
    if (answer.error) return fail(answer, status);
    trouble.hidden = true;
    body.hidden = alertsCard.hidden = false;
    ({ points, alerts: found } = answer);
    ready = true;
    chart.show(points, found, { zoom });
    showAlerts();
    const thin = answer.thinned ? " Of so many ticks, 500 are shown." : "";
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    setText(note, `${points.t.length} ticks, times in ${zone}.${thin} Drag or turn the wheel to zoom, double-click to see all.`);
    if (moment) chart.pointAt(moment);
    append(waiting);
  }

  function fail({ error, near = [] }, status) {
    body.hidden = alertsCard.hidden = true;
    trouble.hidden = false;
    trouble.replaceChildren(h("p", {}, error), near.length
      ? h("p", {}, "Did you mean ", ...near.flatMap((other, place) => [place ? " or " : "", h("a", { href: chartPath(other) }, other)]), "?")
      : "");
    if (status !== 404) setTimeout(() => { if (!closed) read(); }, 3000);
  }

  function showButtons() {
    for (const button of buttons) button.setAttribute("aria-pressed", !moment && button.dataset.span === span);
  }

  function showAlerts() {
    list.replaceChildren(...(found.length ? found.toReversed().slice(0, 100).map(item) : [h("li", { class: "muted none" }, "None.")]));
  }

  /** Add rows that have come since; a view of the past stays as it is. */
  function append(rows) {
    if (moment) return;
    if (!ready) return waiting.push(...rows);
    const last = points.t.at(-1) ?? 0;
    const fresh = rows.map((row) => ({ ...row, t: Date.parse(row.timestamp) / 1000 })).filter((row) => row.t > last);
    if (!fresh.length) return;
    for (const row of fresh) {
      for (const [column, values] of Object.entries(points)) values.push(row[column] ?? null);
    }
    const surplus = points.t.length - LIVE_POINTS;
    if (surplus > 0) for (const values of Object.values(points)) values.splice(0, surplus);
    if (lacksColumn(fresh)) return read(); // the averages begin, say
    chart.show(points, found, { keep: true });
  }

  const lacksColumn = (rows) => rows.some((row) => Object.keys(row).some((column) => /^(sma_|bollinger_|expected_|volume)/.test(column) && !(column in points)));

  function takeAlerts({ detail }) {
    if (moment || !ready) return;
    const fresh = detail.filter((alert) => alert.symbol === symbol);
    if (!fresh.length) return;
    found = [...found, ...fresh];
    chart.show(points, found, { keep: true });
    showAlerts();
  }

  function showQuote() {
    const quote = quotes.get(symbol);
    if (!quote) return;
    const direction = quote.change_percent > 0 ? "up" : quote.change_percent < 0 ? "down" : "";
    numbers.replaceChildren(
      h("strong", {}, price(quote.price)), " ", h("span", { class: direction }, percent(quote.change_percent)),
      h("span", { class: "muted" }, quote.volume === undefined ? "" : ` · volume ${volume(quote.volume)}`, ` · ${time(quote.timestamp)}`));
  }

  const listening = new AbortController();
  const on = (event, take) => events.addEventListener(event, take, { signal: listening.signal });
  on("rows", ({ detail }) => append(detail));
  on("alerts", takeAlerts);
  on("quotes", showQuote);
  on("everything", () => { showQuote(); if (ready && !moment) read(); });
  on("theme", () => { if (ready) { chart.shape = ""; chart.show(points, found, { zoom }); } });
  showQuote();
  read();

  return {
    name: "symbol", title: symbol, element, wants: `?symbol=${encodeURIComponent(symbol)}`,
    close() { closed = true; listening.abort(); chart.close(); clearTimeout(remembering); },
    key({ key }) {
      if (key in KEYS) choose(KEYS[key]);
      else if (key === "+" || key === "=") chart.zoom(0.6);
      else if (key === "-") chart.zoom(1.6);
      else if (key === "0") chart.showAll();
      else if (key === "ArrowLeft") chart.zoom(1, null, -0.2);
      else if (key === "ArrowRight") chart.zoom(1, null, 0.2);
      else return false;
      return true;
    },
  };
}
