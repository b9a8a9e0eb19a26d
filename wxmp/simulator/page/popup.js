// The subscription popup: which templates a page asks for, and what the person at the phone answers.

import { act, get } from "./api.js";
import { closeSheet, openSheet } from "./dialog.js";
import { h, icon } from "./dom.js";
import { t } from "./i18n.js";
import { accountName, store } from "./store.js";

const ANSWERS = ["", "accept", "reject"];

function standing(template) {
  if (template.refused) return t("popup.off");
  if (template.lasting) return t("popup.lasting");
  return t("popup.left", { n: template.left });
}

function row(template, chosen) {
  return h(
    "fieldset",
    { class: "popup-row", dataset: { template: template.template_id } },
    h("legend", {}, h("b", { text: template.title }), " ", h("small", { class: "muted", text: standing(template) })),
    h(
      "div",
      { class: "choices" },
      ANSWERS.map((answer) =>
        h("label", { class: "choice" }, h("input", { type: "radio", name: `popup-${template.template_id}`, value: answer, checked: answer === chosen }), h("span", { text: t(`popup.${answer || "absent"}`) })),
      ),
    ),
  );
}

/** Open the popup as a page with `<wx-open-subscribe>` does. */
export async function openPopup() {
  const { templates, most } = await get("subscriptions", { appid: store.appid, openid: store.openid });
  if (!templates.length) {
    openSheet(t("attach.subscribe"), h("div", { class: "empty" }, icon("bell"), h("p", { text: t("popup.none") }), h("code", { text: "POST /wxaapi/newtmpl/addtemplate" })));
    return;
  }
  const form = h(
    "form",
    {
      id: "popup",
      class: "stack",
      on: {
        submit: (event) => {
          event.preventDefault();
          const chosen = [...form.querySelectorAll("input:checked")].filter((input) => input.value);
          const answers = Object.fromEntries(chosen.map((input) => [input.closest("[data-template]").dataset.template, input.value]));
          closeSheet();
          if (chosen.length) act("subscribe_popup", { template_ids: answers }).catch(() => {});
        },
      },
    },
    h("p", { class: "muted small", text: t("popup.hint", { name: accountName(), most }) }),
    templates.map((template, at) => row(template, at < most ? "accept" : "")),
    h("div", { class: "row end" }, h("button", { type: "submit", id: "popup-done", class: "primary", text: t("popup.done") })),
  );
  openSheet(t("attach.subscribe"), form);
}
