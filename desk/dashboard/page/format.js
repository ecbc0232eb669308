// Numbers, times and names, as people read them.

const grouped = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

/** A price: two decimals, or where it is small as many as its first four digits take. */
export function price(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 10 || size === 0) return grouped.format(value);
  const places = Math.min(9, Math.max(2, 3 - Math.floor(Math.log10(size))));
  return value.toFixed(places).replace(/(\.\d\d\d*?)0+$/, "$1");
}

export function percent(value) {
  if (value === null || value === undefined) return "–";
  return `${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(value).toFixed(2)} %`;
}

export const count = (value) => (value === null || value === undefined ? "–" : whole.format(value));
export const volume = (value) => (value === null || value === undefined ? "–" : value < 10000 ? whole.format(value) : short.format(value));

export function bytes(value) {
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (value < 1000 || unit === "GB") return `${value < 10 && unit !== "B" ? value.toFixed(1) : Math.round(value)} ${unit}`;
    value /= 1000;
  }
}

/** How long ago something was, in one word. */
export function ago(moment, now = Date.now()) {
  const seconds = Math.max(0, (now - moment) / 1000);
  if (seconds < 2) return "now";
  for (const [length, unit] of [[31_536_000, "y"], [86_400, "d"], [3_600, "h"], [60, "min"]]) {
    if (seconds >= length) return `${Math.floor(seconds / length)} ${unit}`;
  }
  return `${Math.floor(seconds)} s`;
}

/** A moment in the browser's time zone; the day only where it is not today. */
export function time(timestamp, now = new Date()) {
  const moment = new Date(timestamp);
  const clock = moment.toLocaleTimeString("en-GB");
  return moment.toDateString() === now.toDateString() ? clock : `${day(moment)} ${clock}`;
}

export const day = (moment) => `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())}`;
const two = (number) => String(number).padStart(2, "0");

/** A rule or a column as words: sma_cross is "sma cross". */
export const words = (name) => name.replaceAll("_", " ");

export const shardName = (id) => id.replace(/^shardId-0*/, "") || "0";

/** The address of a symbol's chart. */
export function chartPath(symbol, query = "") {
  return `/symbol/${encodeURIComponent(symbol)}${query}`;
}
