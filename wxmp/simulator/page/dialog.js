// Sheets inside the phone and small forms: one at a time, Esc closes, focus comes back.

import { $, h, iconButton } from "./dom.js";
import { t } from "./i18n.js";

// What may lie over the chat, the topmost first.
const LAYERS = ["#pay-pad", "#sheet", "#browser"];

let returning = null;
let afterwards = null;

/** Do something when the sheet that is open now goes, by whatever way. */
export function onceClosed(act) {
  afterwards = act;
}

/** Whatever is covered can neither be tapped nor reached by the Tab key. Call it whenever a layer comes or goes. */
export function cover() {
  const top = LAYERS.map((name) => $(name)).find((layer) => !layer.hidden);
  for (const part of $("#screen").children) part.inert = Boolean(top) && part !== top && part.id !== "announcer";
}

/** Give the focus back to where it was, or to the phone when that place is gone. */
export function giveBack(place) {
  if (place?.isConnected && place !== document.body && place.checkVisibility() && !place.disabled) place.focus({ preventScroll: true });
  else if ($("#screen").checkVisibility()) ($("#browser").hidden ? $("#chat-scroll") : $("#browser-close")).focus({ preventScroll: true });
}

export function closeSheet() {
  const sheet = $("#sheet");
  if (sheet.hidden) return;
  const inside = sheet.contains(document.activeElement) || document.activeElement === document.body;
  sheet.hidden = true;
  sheet.replaceChildren();
  cover();
  if (inside) giveBack(returning);
  returning = null;
  const act = afterwards;
  afterwards = null;
  act?.();
}

/** Slide a sheet over the phone. Returns the panel. */
export function openSheet(title, ...content) {
  const sheet = $("#sheet");
  if (!sheet.hidden) closeSheet();
  returning = document.activeElement;
  const panel = h(
    "div",
    { class: "sheet-panel", role: "dialog", "aria-label": title },
    h("header", {}, h("h2", { text: title }), iconButton("close", t("close"), closeSheet)),
    ...content,
  );
  sheet.replaceChildren(panel);
  sheet.hidden = false;
  cover();
  (panel.querySelector("input, select, textarea, .primary") ?? panel.querySelector("button"))?.focus();
  return panel;
}

/** Ask for a few fields. `fields`: [{name, label, value, type}]. Calls `done` with an object. */
export function askFields(title, fields, action, done) {
  const inputs = fields.map((field) =>
    h("label", { class: "field" }, h("span", { text: field.label }), h("input", { name: field.name, type: field.type ?? "text", value: field.value ?? "", step: "any", min: field.min, max: field.max })),
  );
  const form = h(
    "form",
    {
      class: "stack",
      on: {
        submit: (event) => {
          event.preventDefault();
          const values = Object.fromEntries(fields.map((field) => [field.name, form.elements[field.name].value]));
          closeSheet();
          done(values);
        },
      },
    },
    ...inputs,
    h("div", { class: "row end" }, h("button", { type: "submit", class: "primary", text: action })),
  );
  openSheet(title, form);
}

export function startDialog() {
  $("#sheet").addEventListener("click", (event) => {
    if (event.target === event.currentTarget) closeSheet();
  });
}
