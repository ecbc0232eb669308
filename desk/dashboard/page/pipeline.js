// How the pipeline does: shards, what became of the records of the last minutes, and the quarantine.

import { h, setText } from "./dom.js";
import { bytes, count, shardName, time } from "./format.js";
import { events, state } from "./store.js";

const BARS = 60;
const UP_TO_DATE = 3; // seconds: what the page shows is itself a second old

export function pipelineView() {
  const content = h("div", { class: "pipeline" }, h("p", { class: "empty" }, "Reading leases and archive …"));
  const stream = h("span", { class: "muted" });
  const element = h("section", { "aria-label": "Pipeline" },
    h("div", { class: "bar" }, h("h1", {}, "Pipeline"), stream), content);
  const opened = new Set(); // payloads stay open when the view is drawn anew

  function show() {
    const found = state.pipeline;
    if (!found) return;
    setText(stream, `stream ${found.stream} · application ${found.application}`);
    content.replaceChildren(numbers(found), shards(found), throughput(found), quarantine(found, opened));
  }

  const listening = new AbortController();
  events.addEventListener("pipeline", show, { signal: listening.signal });
  show();
  return { name: "pipeline", title: "Pipeline", element, wants: "?pipeline", close: () => listening.abort() };
}

const sum = (windows, field) => windows.reduce((total, window) => total + window[field], 0);

function numbers({ windows, quarantine }) {
  const facts = [
    ["ticks/s", rate(windows)], ["ticks", count(sum(windows, "ticks"))], ["duplicates", count(sum(windows, "duplicates"))],
    ["late", count(sum(windows, "late"))], ["conflicts", count(sum(windows, "conflicts"))],
    ["quarantined", count(sum(windows, "quarantined"))], ["objects", count(sum(windows, "objects"))], ["archived", bytes(sum(windows, "bytes"))],
  ];
  return h("div", { class: "card" }, h("h2", {}, "The last 15 minutes in the archive"),
    windows.length || quarantine.counted ? h("dl", { class: "facts" }, ...facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))))
      : h("p", { class: "muted" }, "Nothing was archived: a window is written when it is complete."));
}

/** Ticks by the start of their window, all shards together: [epoch seconds, ticks]. */
function byWindow(windows) {
  const totals = new Map();
  for (const { start, ticks } of windows) totals.set(start, (totals.get(start) ?? 0) + ticks);
  return [...totals].map(([start, ticks]) => [moment(start), ticks]).sort(([a], [b]) => a - b);
}

function moment(start) {
  return Date.parse(start.replace(/(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z/, "$1-$2-$3T$4:$5:$6Z")) / 1000;
}

/** The shortest distance of two windows is their length. */
function windowSeconds(totals) {
  const distances = totals.slice(1).map(([start], place) => start - totals[place][0]);
  return distances.length ? Math.min(...distances) : null;
}

function rate(windows) {
  const totals = byWindow(windows), seconds = windowSeconds(totals);
  if (!seconds) return "–";
  const last = totals.slice(-4, -1); // the newest may lack some shards yet
  return (last.reduce((total, [, ticks]) => total + ticks, 0) / Math.max(1, last.length) / seconds).toFixed(1);
}

function shards({ shards: all }) {
  const row = ({ shard_id: id, worker, behind_seconds: behind }) => h("tr", {},
    h("th", { scope: "row" }, shardName(id)),
    h("td", { class: worker ? "" : "down" }, worker ?? "no worker"),
    h("td", { class: `number ${behind > 60 ? "down" : ""}` }, behind === null ? "–" : behind < UP_TO_DATE ? "up to date" : `${behind.toFixed(0)} s behind`));
  return h("div", { class: "card" }, h("h2", {}, "Shards"), h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Shard"), h("th", { scope: "col" }, "Worker"), h("th", { scope: "col", class: "number" }, "Lag"))),
    h("tbody", {}, ...all.map(row))));
}

/** Bars of the ticks of each window. */
function throughput({ windows }) {
  const totals = byWindow(windows).slice(-BARS);
  if (totals.length < 2) return "";
  const seconds = windowSeconds(totals), first = totals[0][0], last = totals.at(-1)[0];
  const most = Math.max(...totals.map(([, ticks]) => ticks), 1), places = (last - first) / seconds + 1;
  const bars = totals.map(([start, ticks]) => h("svg:rect", {
    x: ((start - first) / seconds / places * 600).toFixed(1), width: Math.max(1, 600 / places - 1.5).toFixed(1),
    y: (80 - ticks / most * 78).toFixed(1), height: (ticks / most * 78).toFixed(1),
  }, h("svg:title", {}, `${time(start * 1000)}: ${count(ticks)} ticks`)));
  return h("div", { class: "card" }, h("h2", {}, `Ticks per window of ${seconds} s`),
    h("svg:svg", { class: "bars", viewBox: "0 0 600 80", preserveAspectRatio: "none", role: "img", "aria-label": `Ticks per window, ${most} at most` }, ...bars),
    h("p", { class: "ends muted" }, h("span", {}, time(first * 1000)), h("span", {}, `at most ${count(most)}`), h("span", {}, time(last * 1000))));
}

function quarantine({ quarantine: { reasons, records } }, opened) {
  if (!records.length) return h("div", { class: "card" }, h("h2", {}, "Quarantine"), h("p", { class: "muted" }, "Empty since yesterday: every record was a tick."));
  const record = (one) => {
    const cut = one.payload_bytes > one.payload.length ? `\n… ${bytes(one.payload_bytes)} in all` : "";
    return h("details", { open: opened.has(one.id), ontoggle: (event) => (event.target.open ? opened.add(one.id) : opened.delete(one.id)) },
      h("summary", {}, h("time", { class: "muted", datetime: one.arrived_at }, time(one.arrived_at)), " ", one.reason),
      h("pre", { tabindex: "0" }, one.payload + cut),
      h("p", { class: "muted" }, `${one.id}: shard ${shardName(one.shard_id)}, record ${one.sequence_number}, partition key ${one.partition_key}`));
  };
  return h("div", { class: "card" }, h("h2", {}, "Quarantine of the last 24 hours"),
    h("ul", { class: "reasons" }, ...reasons.map(([reason, times]) => h("li", {}, h("strong", {}, count(times)), ` ${reason}`))),
    ...records.map(record));
}
