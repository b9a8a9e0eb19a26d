// Building the page from data. Nothing here or elsewhere in the page uses innerHTML: text stays text.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element. `props`: class, text, title, dataset, on: {event: handler}, anything else is an attribute. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") element.className = value;
    else if (name === "text") element.textContent = value;
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name === "on") for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    else if (name === "value" || name === "checked" || name === "disabled") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

/** Replace the children of an element, only when `key` has changed: a list under the pointer must not flicker. */
export function fill(element, children, key) {
  if (key !== undefined) {
    if (element.dataset.key === key) return false;
    element.dataset.key = key;
  }
  element.replaceChildren(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return true;
}

/** Stroke icons on a grid of 24. */
const PATHS = {
  logo: "M4 6.5A3.5 3.5 0 0 1 7.5 3h9A3.5 3.5 0 0 1 20 6.5v6a3.5 3.5 0 0 1-3.5 3.5H11l-4.5 4v-4.1A3.5 3.5 0 0 1 4 12.5zM8.5 8.2v2.6M12 7v5M15.5 8.2v2.6",
  in: "M4 12h15M13 6l6 6-6 6",
  out: "M20 12H5M11 6l-6 6 6 6",
  ok: "M5 12.5l4.5 4.5L19 7.5",
  warn: "M12 4 2.8 20h18.4zM12 10v4.5M12 17.4v.2",
  bad: "M6 6l12 12M18 6 6 18",
  mute: "M5 12h14",
  bolt: "M13 3 5 14h6l-1 7 8-11h-6z",
  plus: "M12 5v14M5 12h14",
  send: "M4 12 20 4l-5 16-3.2-6.8z",
  keyboard: "M3 7.5A1.5 1.5 0 0 1 4.5 6h15A1.5 1.5 0 0 1 21 7.5v9a1.5 1.5 0 0 1-1.5 1.5h-15A1.5 1.5 0 0 1 3 16.5zM7 10h.01M10.3 10h.01M13.7 10h.01M17 10h.01M8 14h8",
  image: "M4 6.5A1.5 1.5 0 0 1 5.5 5h13A1.5 1.5 0 0 1 20 6.5v11a1.5 1.5 0 0 1-1.5 1.5h-13A1.5 1.5 0 0 1 4 17.5zM4.5 17l5-5 4 4 2.5-2.5 4 4M15.5 9.2v.1",
  voice: "M12 4a2.5 2.5 0 0 1 2.5 2.5v5a2.5 2.5 0 0 1-5 0v-5A2.5 2.5 0 0 1 12 4zM6 11.5a6 6 0 0 0 12 0M12 17.5V21",
  wave: "M5 10v4M8.5 7.5v9M12 5v14M15.5 8.5v7M19 10.5v3",
  video: "M4 7.5A1.5 1.5 0 0 1 5.5 6h8A1.5 1.5 0 0 1 15 7.5v9a1.5 1.5 0 0 1-1.5 1.5h-8A1.5 1.5 0 0 1 4 16.5zM15 10.5l5-3v9l-5-3",
  pin: "M12 21s-6.5-6.2-6.5-11a6.5 6.5 0 0 1 13 0c0 4.800-6.500 11-6.500 11zM12 12.500a2.400 2.400 0 1 0 0-4.800 2.400 2.400 0 0 0 0 4.800z",
  link: "M10 14a4 4 0 0 0 5.700 0l3-3a4 4 0 0 0-5.700-5.700l-1 1M14 10a4 4 0 0 0-5.700 0l-3 3a4 4 0 0 0 5.700 5.700l1-1",
  music: "M9 18V6l10-2v12M9 18a2.500 2.500 0 1 1-5 0 2.500 2.500 0 0 1 5 0zM19 16a2.500 2.500 0 1 1-5 0 2.500 2.500 0 0 1 5 0z",
  scan: "M4 8V5.500A1.500 1.500 0 0 1 5.500 4H8M16 4h2.500A1.500 1.500 0 0 1 20 5.500V8M20 16v2.500a1.500 1.500 0 0 1-1.500 1.500H16M8 20H5.500A1.500 1.500 0 0 1 4 18.500V16M4 12h16",
  close: "M6 6l12 12M18 6 6 18",
  back: "M15 5l-7 7 7 7",
  refresh: "M19.500 12a7.500 7.500 0 1 1-2.200-5.300L20 9.400M20 4.500v5h-5",
  open: "M10 5H6.500A1.500 1.500 0 0 0 5 6.500v11A1.500 1.500 0 0 0 6.500 19h11a1.500 1.500 0 0 0 1.500-1.500V14M14 4h6v6M20 4l-9 9",
  pause: "M8.500 5v14M15.500 5v14",
  play: "M7.500 5v14l11-7z",
  clear: "M5 7h14M9.500 7V4.500h5V7M7 7l1 13h8l1-13",
  copy: "M9 9.500A1.500 1.500 0 0 1 10.500 8h8A1.500 1.500 0 0 1 20 9.500v9a1.500 1.500 0 0 1-1.500 1.500h-8A1.500 1.500 0 0 1 9 18.500zM15 8V5.500A1.500 1.500 0 0 0 13.500 4h-8A1.500 1.500 0 0 0 4 5.500v8A1.500 1.500 0 0 0 5.500 15H9",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM16.200 16.200 20.500 20.500",
  clock: "M12 20.500a8.500 8.500 0 1 0 0-17 8.500 8.500 0 0 0 0 17zM12 7.500V12l3 2",
  key: "M8 17.500a4.500 4.500 0 1 0 0-9 4.500 4.500 0 0 0 0 9zM11.500 10.500 20 4.500M16 7.400l2.300 3",
  gauge: "M4 17a8.500 8.500 0 1 1 16 0M12 14l4-5",
  flask: "M10 4h4M11 4v6l-5.500 8.500a1 1 0 0 0 .900 1.500h11.200a1 1 0 0 0 .900-1.500L13 10V4M8 15h8",
  bulb: "M9 17h6M10 20h4M12 4a5.500 5.500 0 0 1 3.300 9.900c-.500.400-.800 1-.800 1.600V17h-5v-1.500c0-.600-.300-1.200-.800-1.600A5.500 5.500 0 0 1 12 4z",
  wallet: "M4 8.500A2.500 2.500 0 0 1 6.500 6H18v3M4 8.500v8A2.500 2.500 0 0 0 6.500 19h12a1.500 1.500 0 0 0 1.500-1.500v-7A1.500 1.500 0 0 0 18.500 9H4.500M16.500 14v.1",
  globe: "M12 20.500a8.500 8.500 0 1 0 0-17 8.500 8.500 0 0 0 0 17zM3.500 12h17M12 3.500c2.500 2.400 3.800 5.200 3.800 8.500S14.500 18.100 12 20.500c-2.500-2.400-3.800-5.200-3.800-8.500S9.500 5.900 12 3.500z",
  theme_dark: "M19.500 14.500A8 8 0 0 1 9.500 4.500a8 8 0 1 0 10 10z",
  theme_light: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 3v2M12 19v2M3 12h2M19 12h2M5.600 5.600 7 7M17 17l1.400 1.400M18.400 5.600 17 7M7 17l-1.400 1.400",
  theme_auto: "M4.500 5h15A1.500 1.500 0 0 1 21 6.500v8a1.500 1.500 0 0 1-1.500 1.500h-15A1.500 1.500 0 0 1 3 14.500v-8A1.500 1.500 0 0 1 4.500 5zM9 20h6M12 16v4",
  bell: "M6 16.500V11a6 6 0 0 1 12 0v5.500l1.500 1.500h-15zM10 20.500h4",
  phone: "M8 3.500h8A1.500 1.500 0 0 1 17.500 5v14a1.500 1.500 0 0 1-1.500 1.500H8A1.500 1.500 0 0 1 6.500 19V5A1.500 1.500 0 0 1 8 3.500zM11 17.500h2",
  list: "M8.500 6.500H20M8.500 12H20M8.500 17.500H20M4.500 6.500h.01M4.500 12h.01M4.500 17.500h.01",
  tools: "M5 6h8M17 6h2M5 12h2M11 12h8M5 18h8M17 18h2M15 8a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM9 14a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM15 20a2 2 0 1 0 0-4 2 2 0 0 0 0 4z",
  box: "M4 8l8-4 8 4v8l-8 4-8-4zM4 8l8 4 8-4M12 12v8",
  apps: "M12 12a4 4 0 1 1 4-4v8a4 4 0 1 1-4-4z",
  chevron: "M9 6l6 6-6 6",
  info: "M12 20.500a8.500 8.500 0 1 0 0-17 8.500 8.500 0 0 0 0 17zM12 11v5M12 8v.1",
  user: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4.500 20c.800-3.800 3.700-6 7.500-6s6.700 2.200 7.500 6",
};

export function icon(name, className = "") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", `icon ${className}`.trim());
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("focusable", "false");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name] ?? PATHS.info);
  svg.append(path);
  return svg;
}

/** An icon button with a label for everybody. */
export function iconButton(name, label, onClick, props = {}) {
  return h("button", { type: "button", class: `icon-button ${props.class ?? ""}`.trim(), title: label, "aria-label": label, ...without(props, "class"), on: { click: onClick } }, icon(name));
}

function without(object, name) {
  const { [name]: _dropped, ...rest } = object;
  return rest;
}

/** A round picture made of a name: the first character on a colour that belongs to it. */
export function avatar(name, className = "") {
  const text = String(name ?? "");
  let hash = 7;
  for (const character of text) hash = (hash * 31 + character.codePointAt(0)) % 360;
  const circle = h("span", { class: `avatar ${className}`.trim(), "aria-hidden": "true", text: [...text.trim()][0]?.toUpperCase() ?? "?" });
  circle.style.setProperty("--hue", String(hash));
  return circle;
}

/** Copy text and say so on the button for a moment. */
export async function copyText(text, button, done) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without the clipboard right: the old way.
    const area = h("textarea", { class: "offscreen", value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  if (!button) return;
  const label = button.querySelector(".label");
  if (!label) return;
  const before = label.textContent;
  label.textContent = done;
  setTimeout(() => { label.textContent = before; }, 1200);
}

/** Call at most once per `ms`, the last time included. */
export function throttle(ms, act) {
  let timer = 0;
  let again = false;
  return () => {
    if (timer) { again = true; return; }
    act();
    timer = setTimeout(function later() {
      timer = 0;
      if (again) { again = false; act(); timer = setTimeout(later, ms); }
    }, ms);
  };
}

/** Only http and https may be opened; everything else is no link. */
export function webAddress(value) {
  try {
    const url = new URL(String(value));
    return url.protocol === "http:" || url.protocol === "https:" ? url : null;
  } catch {
    return null;
  }
}
