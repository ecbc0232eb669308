// Notifications of the desktop, if somebody has asked for them.

const SECONDS = 5; // at most one in so many
const RANK = { info: 0, warning: 1, critical: 2 };
let last = 0, held = [];

export const isPossible = () => "Notification" in window && Notification.permission !== "denied";
export const wantsNotifications = () => localStorage.getItem("notify") !== null && isPossible() && Notification.permission === "granted";
export const leastSeverity = () => localStorage.getItem("notify") ?? "";

/** Turn notifications of alerts of this severity and above on, or off with an empty one; gives whether they are on. */
export async function setNotifications(severity) {
  if (severity && (await Notification.requestPermission()) !== "granted") severity = "";
  if (severity) localStorage.setItem("notify", severity);
  else localStorage.removeItem("notify");
  return Boolean(severity);
}

/** Notify of new alerts; several at once become one notification. */
export function notifyOf(fresh, go) {
  if (!wantsNotifications()) return;
  const wanted = fresh.filter((alert) => (RANK[alert.severity] ?? 0) >= (RANK[leastSeverity()] ?? 0));
  if (!wanted.length) return;
  if (!held.length) setTimeout(() => show(go), Math.max(0, last + SECONDS * 1000 - Date.now()));
  held.push(...wanted);
}

function show(go) {
  const [newest, more] = [held.at(-1), held.length - 1];
  held = [];
  last = Date.now();
  const notification = new Notification(`${newest.symbol}: ${newest.severity}`, {
    body: newest.message + (more ? `\nand ${more} more` : ""), tag: "tickertape", icon: "/page/icon.svg",
  });
  notification.onclick = () => { window.focus(); go(more ? "/alerts" : `/symbol/${encodeURIComponent(newest.symbol)}?at=${newest.timestamp}`); };
}
