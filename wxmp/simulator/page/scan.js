// Scanning: the codes this account has, or anything pasted - a ticket, an address, a payment code.

import { act, qrUrl, toast } from "./api.js";
import { openUrl } from "./browser.js";
import { closeSheet, openSheet } from "./dialog.js";
import { $, h, icon, webAddress } from "./dom.js";
import { t } from "./i18n.js";
import { money } from "./chat.js";
import { openPay, payCode, tellOutcome } from "./pay.js";
import { store } from "./store.js";
import { countdown, now } from "./time.js";

const codes = () => store.phone?.qr ?? [];

/** Do what a phone does with the content of a code. */
export async function scanned(text) {
  const value = text.trim();
  if (!value) return;
  if (/^weixin:\/\/wxpay\//i.test(value)) {
    payCode(value);
    return;
  }
  const known = codes().find((code) => code.ticket === value || (code.url && code.url === value));
  if (known) {
    await scanTicket(known.ticket);
    return;
  }
  const url = webAddress(value);
  if (url && /\/cgi-bin\/showqrcode$/.test(url.pathname) && url.searchParams.get("ticket")) {
    await scanTicket(url.searchParams.get("ticket"));
  } else if (url) {
    openUrl(value);
  } else {
    await scanTicket(value);
  }
}

async function scanTicket(ticket) {
  try {
    await act("scan", { ticket });
  } catch {
    // The toast has said it.
  }
}

/** Drawn by the control routes: the platform's own picture address would fill the timeline with requests of this page. */
const pictureOf = (code) => qrUrl(code.url ?? code.ticket);

function codeCard(code, done) {
  const life = h("small", {});
  if (code.expired) life.textContent = t("scan.expired");
  else if (code.seconds_left === null || code.seconds_left === undefined) life.textContent = t("scan.permanent");
  else countdown(life, (store.phone.read_at ?? now()) + code.seconds_left, { show: (text, left) => (left > 0 ? text : t("scan.expired")) });
  return h(
    "button",
    {
      type: "button",
      class: `code ${code.expired ? "expired" : ""}`,
      dataset: { ticket: code.ticket },
      title: `${code.scene}\n${code.ticket}`,
      on: { click: () => done(code) },
    },
    h("img", { src: pictureOf(code), alt: "", width: 96, height: 96, loading: "lazy" }),
    h("span", { class: "code-scene", text: String(code.scene ?? "") }),
    life,
  );
}

/** Something to pay: by its code as a wallet scans it, or as if the shop's page had asked. */
function orderRow(order) {
  return h(
    "button",
    {
      type: "button",
      class: "order",
      dataset: { order: order.out_trade_no },
      on: {
        click: () => {
          closeSheet();
          if (order.code_url) payCode(order.code_url);
          else openPay({ params: { prepay_id: order.prepay_id } }, tellOutcome);
        },
      },
    },
    icon("wallet"),
    h("span", { class: "grow", text: order.description }),
    h("b", { class: "mono", text: money(order.total) }),
  );
}

/** Open the scanner. `done`: what a menu button wants with the result; without it the phone acts by itself. */
export function openScan({ title = t("scan"), done = null } = {}) {
  const finish = (text) => {
    if (done) done(text);
    closeSheet();
    if (!done) scanned(text);
  };
  const input = h("input", { id: "scan-input", type: "text", placeholder: t("scan.placeholder"), "aria-label": t("scan.placeholder"), autocomplete: "off" });
  const form = h(
    "form",
    { class: "row", on: { submit: (event) => { event.preventDefault(); if (input.value.trim()) finish(input.value); } } },
    input,
    h("button", { type: "submit", id: "scan-go", class: "primary", text: t("scan.go") }),
  );
  const list = codes();
  const orders = (store.phone?.orders ?? []).filter((order) => order.code_url || order.prepay_id).slice(0, 8);
  openSheet(
    title,
    form,
    h("p", { class: "muted small", text: t("scan.hint") }),
    !done && orders.length ? h("div", { class: "orders" }, h("h3", { text: t("scan.orders") }), orders.map(orderRow)) : null,
    list.length
      ? h("div", { class: "codes" }, [...list].reverse().map((code) => codeCard(code, (chosen) => finish(done ? (chosen.url ?? chosen.ticket) : chosen.ticket))))
      : h("div", { class: "empty" }, icon("scan"), h("p", { text: t("scan.none") }), h("code", { text: "client.qrcode.create(…)" })),
  );
}

export function startScan() {
  $("#scan-open").addEventListener("click", () => {
    if (store.openid) openScan();
    else toast(t("phone.none"), "bad");
  });
}

