// Light or dark before the first paint: what was chosen here, else what the system has.
const darkSystem = matchMedia("(prefers-color-scheme: dark)");
function applyTheme() {
  document.documentElement.dataset.theme = localStorage.getItem("theme") ?? (darkSystem.matches ? "dark" : "light");
}
applyTheme();
