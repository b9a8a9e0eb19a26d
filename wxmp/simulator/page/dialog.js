// Sheets inside the phone and small forms: one at a time, Esc closes, focus comes back.

import { $, h, iconButton } from "./dom.js";
import { t } from "./i18n.js";

let returning = null;

export function closeSheet() {
  const sheet = $("#sheet");
  if (sheet.hidden) return;
  sheet.hidden = true;
  sheet.replaceChildren();
  returning?.focus?.();
  returning = null;
}

/** Slide a sheet over the phone. Returns the panel. */
export function openSheet(title, ...content) {
  const sheet = $("#sheet");
  if (sheet.hidden) returning = document.activeElement;
  const panel = h(
    "div",
    { class: "sheet-panel", role: "dialog", "aria-modal": "true", "aria-label": title },
    h("header", {}, h("h3", { text: title }), iconButton("close", t("close"), closeSheet)),
    ...content,
  );
  sheet.replaceChildren(panel);
  sheet.hidden = false;
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
