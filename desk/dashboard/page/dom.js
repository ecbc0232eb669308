// Elements are made here, and text is only ever text: nothing that came from the stream is read as HTML.

/** Make an element: attributes, `class`, `on…` listeners and `data` by name; children are nodes or text. */
export function h(tag, attributes = {}, ...children) {
  const element = tag.includes(":")
    ? document.createElementNS("http://www.w3.org/2000/svg", tag.split(":")[1])
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Set a text only where it is another: the browser has less to lay out. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Make a drop-down list with a label for screen readers; options are [value, text]. */
export function choice(label, options, value, onchange) {
  const select = h("select", { "aria-label": label, onchange: () => onchange(select.value) });
  setOptions(select, options, value);
  return select;
}

export function setOptions(select, options, value) {
  select.replaceChildren(...options.map(([name, text]) => h("option", { value: name, selected: name === value }, text)));
}

/** Make a field that filters as one types; the key / goes there. */
export function filterField(label, value, oninput) {
  const field = h("input", {
    type: "search", placeholder: label, "aria-label": label, value, spellcheck: "false", autocomplete: "off",
    class: "filter", oninput: () => oninput(field.value.trim()),
  });
  return field;
}

/** Give the value of a colour of the style sheet, for what is drawn on a canvas. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
