// A symbol's chart: the price with its averages, its bands as areas, alerts as markers, and the volume below.
/* global uPlot */

import { colour, h, setText } from "./dom.js";
import { price, time, volume, words } from "./format.js";

const VOLUME_HEIGHT = 90, LEAST_HEIGHT = 240, MARK = 5, REACH = 14, TOLD = 6;
const MARK_COLOURS = { info: "info", warning: "warn", critical: "down" };
const LINES = ["average-1", "average-2", "average-3", "average-4"];

/** Columns with these names are the two edges of an area. */
const AREAS = [
  { low: "bollinger_lower", high: "bollinger_upper", name: "Bollinger", paint: "band" },
  { low: "expected_low", high: "expected_high", name: "Expected", paint: "expected" },
];

/** What is traded between one tick and the next: the feed's volume adds up over a session. */
export function traded(volumes) {
  return volumes.map((now, place) => {
    const before = place ? volumes[place - 1] : null;
    if (now === null || now === undefined || before === null || before === undefined) return null;
    return now >= before ? now - before : now;
  });
}

export class Chart {
  /**
   * @param {HTMLElement} place where it goes
   * @param {(range: {min: number, max: number} | null) => void} onzoom is told when somebody has zoomed, null for all
   */
  constructor(place, onzoom) {
    this.place = place;
    this.onzoom = onzoom;
    this.tip = h("div", { class: "tip", role: "tooltip", hidden: true });
    this.frame = h("div", { class: "plots" });
    place.replaceChildren(this.frame, this.tip);
    this.resizing = new ResizeObserver(() => this.resize());
    this.resizing.observe(place);
  }

  close() {
    this.resizing.disconnect();
    this.destroy();
  }

  destroy() {
    this.prices?.destroy();
    this.volumes?.destroy();
    this.prices = this.volumes = null;
  }

  /** Show columns, `t` in seconds and others by name, and alerts; keeps the zoom if `keep` says so. */
  show(points, alerts, { keep = false, zoom = null } = {}) {
    this.points = points;
    this.alerts = alerts.map((alert) => ({ ...alert, t: Date.parse(alert.timestamp) / 1000 }));
    const shape = Object.keys(points).join();
    const drawn = this.data();
    if (this.prices && shape === this.shape && keep) {
      const { min, max } = this.prices.scales.x;
      const wasAll = !this.zoomed;
      this.prices.setData(drawn.prices, wasAll);
      this.volumes?.setData(drawn.volumes, wasAll);
      if (!wasAll) this.setRange(min, max);
      return;
    }
    this.shape = shape;
    this.destroy();
    this.zoomed = false;
    this.build(drawn);
    if (zoom) this.setRange(zoom.min, zoom.max);
  }

  data() {
    const { t, ...columns } = this.points;
    this.areas = AREAS.filter(({ low, high }) => columns[low] && columns[high]);
    this.averages = Object.keys(columns).filter((name) => /^sma_\d+$/.test(name)).sort((a, b) => a.slice(4) - b.slice(4));
    return {
      prices: [t, ...this.areas.flatMap(({ high, low }) => [columns[high], columns[low]]), ...this.averages.map((name) => columns[name]), columns.price ?? []],
      volumes: [t, columns.volume ? traded(columns.volume) : []],
    };
  }

  build(drawn) {
    const key = uPlot.sync(`symbol-${Math.random()}`).key;
    const { width, height } = this.size();
    const shared = {
      width,
      cursor: { sync: { key, setSeries: false }, drag: { x: true, y: false, uni: 20 }, points: { size: 7 }, y: false },
      scales: { x: { time: true } },
      legend: { show: true, live: true },
      padding: [12, 14, 0, 0],
    };
    const series = [{ label: "Time", value: (_, seconds) => (seconds ? time(seconds * 1000) : "–") }];
    const bands = [];
    for (const { name, paint } of this.areas) {
      const edge = { stroke: colour(paint), width: 1, points: { show: false }, value: show };
      bands.push({ series: [series.length, series.length + 1], fill: colour(`${paint}-area`) });
      series.push({ ...edge, label: `${name} high` }, { ...edge, label: "low" });
    }
    this.averages.forEach((name, place) => series.push({
      label: words(name).toUpperCase().replace(" ", "-"), stroke: colour(LINES[place % LINES.length]), width: 1.2, points: { show: false }, value: show,
    }));
    series.push({ label: "Price", stroke: colour("price"), width: 1.6, points: { show: drawn.prices[0].length < 30, size: 4 }, value: show });
    this.prices = new uPlot({
      ...shared, height, series, bands, axes: [{ ...axis(), values: TIMES }, { ...axis(), values: (_, ticks) => ticks.map(price), size: sideSize }],
      hooks: {
        draw: [() => this.mark()],
        setCursor: [(plot) => this.point(plot)],
        setScale: [(plot, scale) => { if (scale === "x") this.rangeChanged(plot); }],
      },
    }, drawn.prices, this.frame);
    if (this.points.volume) {
      this.volumes = new uPlot({
        ...shared, height: VOLUME_HEIGHT, padding: [6, 14, 6, 0],
        series: [{}, { label: "Volume", stroke: colour("volume"), fill: colour("volume"), width: 0, points: { show: false },
          paths: uPlot.paths.bars({ size: [0.7, 12] }), value: (_, value) => volume(value) }],
        legend: { show: false },
        scales: { x: { time: true }, y: { range: (_, __, high) => [0, high || 1] } },
        axes: [{ ...axis(), show: false }, { ...axis(), values: (_, ticks) => ticks.map(volume), size: sideSize, space: 24 }],
        hooks: { setScale: [(plot, scale) => { if (scale === "x") this.follow(plot, this.prices); }] },
      }, drawn.volumes, this.frame);
    } else this.volumes = null;
    for (const plot of [this.prices, this.volumes]) {
      plot?.over.addEventListener("wheel", (event) => this.wheel(event, plot), { passive: false });
      plot?.over.addEventListener("dblclick", () => this.showAll());
    }
  }

  size() {
    const width = Math.max(260, this.place.clientWidth);
    return { width, height: Math.max(LEAST_HEIGHT, Math.min(460, innerHeight * 0.5)) };
  }

  resize() {
    if (!this.prices) return;
    const { width, height } = this.size();
    if (width === this.prices.width && height === this.prices.height) return;
    this.prices.setSize({ width, height });
    this.volumes?.setSize({ width, height: VOLUME_HEIGHT });
  }

  // -------------------------------------------------------------- zoom
  setRange(min, max) {
    this.prices?.setScale("x", { min, max });
  }

  showAll() {
    const { t } = this.points;
    if (t.length) this.setRange(t[0], t.at(-1));
  }

  /** Have the other plot show the same span. */
  follow(from, to) {
    const { min, max } = from.scales.x;
    if (to && (to.scales.x.min !== min || to.scales.x.max !== max)) to.setScale("x", { min, max });
  }

  rangeChanged(plot) {
    if (!this.prices) return; // it is being made
    this.follow(plot, this.volumes);
    const { min, max } = plot.scales.x, { t } = this.points;
    this.zoomed = min > t[0] || max < t.at(-1);
    this.onzoom(this.zoomed ? { min, max } : null);
  }

  /** Zoom by a factor around a moment, or move by a share of what is shown. */
  zoom(factor, around = null, move = 0) {
    if (!this.prices) return;
    const { min, max } = this.prices.scales.x, { t } = this.points;
    const middle = around ?? (min + max) / 2, shift = (max - min) * move;
    const from = Math.max(middle - (middle - min) * factor + shift, t[0]), to = Math.min(middle + (max - middle) * factor + shift, t.at(-1));
    if (to - from > 1) this.setRange(from, to);
  }

  wheel(event, plot) {
    event.preventDefault();
    this.zoom(event.deltaY > 0 ? 1.25 : 0.8, plot.posToVal(event.offsetX, "x"));
  }

  // -------------------------------------------------------------- alerts
  /** Where an alert is on the plot, in pixels of the page. */
  spot(alert) {
    const plot = this.prices;
    return { x: plot.valToPos(alert.t, "x"), y: plot.valToPos(alert.price, "y") };
  }

  visible() {
    const { min, max } = this.prices.scales.x;
    return this.alerts.filter((alert) => alert.t >= min && alert.t <= max);
  }

  mark() {
    if (!this.prices) return requestAnimationFrame(() => this.prices?.redraw(false));
    const { ctx, bbox } = this.prices, ratio = devicePixelRatio || 1;
    ctx.save();
    for (const alert of this.visible()) {
      const { x, y } = this.spot(alert);
      ctx.beginPath();
      ctx.arc(bbox.left + x * ratio, bbox.top + y * ratio, (alert === this.pointed ? MARK + 2 : MARK) * ratio, 0, 2 * Math.PI);
      ctx.fillStyle = colour(MARK_COLOURS[alert.severity] ?? "info");
      ctx.fill();
      ctx.lineWidth = 1.5 * ratio;
      ctx.strokeStyle = colour("surface");
      ctx.stroke();
    }
    ctx.restore();
    this.place.dataset.markers = this.visible().length;
  }

  /** Show the sentences of the alerts that the pointer is at. */
  point(plot) {
    const { left, top } = plot.cursor;
    if (left < 0 || !this.alerts) return this.say([]);
    const near = this.visible().map((alert) => ({ alert, spot: this.spot(alert) }))
      .filter(({ spot }) => Math.hypot(spot.x - left, spot.y - top) < REACH);
    this.say(near.map(({ alert }) => alert), near[0]?.spot);
  }

  say(found, spot) {
    this.tip.hidden = !found.length;
    this.pointed = found[0];
    if (!found.length) return;
    this.tip.replaceChildren(...found.slice(0, TOLD).map((alert) =>
      h("p", {}, h("span", { class: `tag ${alert.severity}` }, alert.severity), ` ${alert.message}`)));
    const { offsetLeft, offsetTop } = this.prices.over;
    const room = this.place.clientWidth - this.tip.offsetWidth - 8;
    this.tip.style.left = `${Math.max(8, Math.min(offsetLeft + spot.x + 12, room))}px`;
    this.tip.style.top = `${offsetTop + spot.y + 14}px`;
  }

  /** Point at an alert, as if the pointer were there. */
  pointAt(alertId) {
    const alert = this.alerts.find((one) => one.alert_id.startsWith(alertId));
    if (!alert || !this.prices) return;
    const { x, y } = this.spot(alert);
    this.prices.setCursor({ left: x, top: y });
    this.say(this.alerts.filter((one) => one.t === alert.t), { x, y });
  }
}

const show = (_, value) => price(value);
const axis = () => ({ stroke: colour("muted"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), size: 4 }, font: "12px system-ui, sans-serif" });

/** How the time axis is written, by the distance of its marks: each with what follows where a year or a day begins. */
const DAY = "\n{D} {MMM}", DATE = "\n{D} {MMM} {YYYY}", YEAR = "\n{YYYY}";
const TIMES = [
  [31_536_000, "{YYYY}", null, null, null, null, null, null, 1],
  [86_400, "{D} {MMM}", YEAR, null, null, null, null, null, 1],
  [60, "{HH}:{mm}", DATE, null, DAY, null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", DATE, null, DAY, null, null, null, 1],
  [0.001, ":{ss}.{fff}", DATE, null, DAY, null, "\n{HH}:{mm}", null, 1],
];

/** The room at the side that the longest label takes, the same for both plots. */
function sideSize() { return 66; }
