// What the server has told, and who wants to hear of it. The connection comes back by itself.

const SILENCE_MS = 15_000; // the server says something every 5 s
const SOONEST_MS = 500, LATEST_MS = 5_000;
const HIDDEN_MS = 60_000; // nobody looks at a page that has been in the background for so long
const SPARK = 40, ALERTS_KEPT = 1000;

export const quotes = new Map(); // by symbol: its newest numbers, with `spark` and `alert`
export const alerts = []; // newest first
export const state = { connected: false, loaded: false, problems: [], pipeline: null };
export const events = new EventTarget();

let source = null, query = "", wait = SOONEST_MS, watchdog = 0, retry = 0, hiding = 0;
let wantsAll = () => false; // whether a hidden page is to hear of alerts

export function keepWhileHidden(isWanted) { wantsAll = isWanted; }

/** Say what the view that is open needs: a symbol's rows, the pipeline. */
export function want(search) {
  if (search === query && source) return;
  query = search;
  connect();
}

function connect() {
  clearTimeout(retry);
  source?.close();
  source = new EventSource(`/events${query}`);
  for (const [name, take] of Object.entries(takers)) {
    source.addEventListener(name, (event) => {
      expectMore();
      take(JSON.parse(event.data));
    });
  }
  source.onerror = lost;
  expectMore();
}

function expectMore() {
  clearTimeout(watchdog);
  watchdog = setTimeout(lost, SILENCE_MS);
}

function lost() {
  source?.close();
  source = null;
  clearTimeout(watchdog);
  if (document.hidden && !wantsAll()) return; // it connects when somebody looks again
  setConnected(false);
  retry = setTimeout(connect, wait);
  wait = Math.min(wait * 2, LATEST_MS);
}

function setConnected(connected) {
  state.connected = connected;
  tell("connection");
}

function tell(name, detail) {
  events.dispatchEvent(new CustomEvent(name, { detail }));
}

function isNewer(alert) {
  return !alerts.length || alert.alert_id > alerts[0].alert_id;
}

function takeAlerts(found) {
  const known = new Set(alerts.map((alert) => `${alert.symbol} ${alert.alert_id}`));
  const fresh = found.filter((alert) => !known.has(`${alert.symbol} ${alert.alert_id}`));
  const inOrder = fresh.every(isNewer);
  alerts.unshift(...fresh.toReversed());
  if (!inOrder) alerts.sort((one, other) => (one.alert_id < other.alert_id ? 1 : -1));
  alerts.length = Math.min(alerts.length, ALERTS_KEPT);
  for (const alert of fresh) {
    const quote = quotes.get(alert.symbol);
    if (quote && !(quote.alert?.alert_id > alert.alert_id)) quote.alert = alert;
  }
  return fresh;
}

const takers = {
  everything({ quotes: all, alerts: recent, problems }) {
    wait = SOONEST_MS;
    quotes.clear();
    for (const quote of all) quotes.set(quote.symbol, quote);
    takeAlerts(recent);
    state.problems = problems;
    state.loaded = all.length > 0;
    setConnected(true);
    tell("everything");
    tell("problems");
  },
  quotes(changed) {
    for (const quote of changed) {
      const before = quotes.get(quote.symbol);
      if (before) {
        quote.spark = [...before.spark, ...quote.spark].slice(-SPARK);
        quote.moved = Math.sign(quote.price - before.price);
        if (!(quote.alert?.alert_id > before.alert?.alert_id)) quote.alert = before.alert ?? quote.alert;
      }
      quotes.set(quote.symbol, quote);
    }
    state.loaded = true;
    tell("quotes", changed);
  },
  alerts(found) { tell("alerts", takeAlerts(found)); },
  rows(found) { tell("rows", found); },
  pipeline(found) { state.pipeline = found; tell("pipeline"); },
  problems(found) { state.problems = found; tell("problems"); },
  beat() { tell("beat"); },
};

document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (!document.hidden && !source) connect();
  if (document.hidden && !wantsAll()) hiding = setTimeout(() => { source?.close(); source = null; clearTimeout(watchdog); clearTimeout(retry); }, HIDDEN_MS);
});
