// Paying: the pad with the amount and six digits, and the answer to whoever asked for the money.

import { act, get, toast } from "./api.js";
import { money } from "./chat.js";
import { closeSheet, cover, giveBack, onceClosed, openSheet } from "./dialog.js";
import { $, $$, h } from "./dom.js";
import { t } from "./i18n.js";
import { on, store } from "./store.js";

const DIGITS = 6;

let pending = null;

const prepayOf = (params) => String(params?.package ?? params?.prepay_id ?? "").replace(/^prepay_id=/, "");

/** What the phone is told to pay, in the words of the control routes. */
function bodyOf({ params, code_url: codeUrl, out_trade_no: trade }) {
  if (params?.paySign) return { params };
  if (codeUrl) return { code_url: codeUrl };
  const prepay = prepayOf(params);
  return prepay ? { prepay_id: prepay } : { out_trade_no: trade };
}

/** Find the order behind a request: for its amount and title. */
async function orderOf(number) {
  if (!number) return null;
  const fits = (order) => order.out_trade_no === number;
  const known = (store.phone?.orders ?? []).find(fits);
  if (known) return known;
  try {
    return ((await get("orders", {}, { quiet: true })).orders ?? []).find(fits) ?? null;
  } catch {
    return null;
  }
}

function showDots() {
  const length = $("#pay-password").value.length;
  $$("#pay-dots span").forEach((dot, at) => dot.classList.toggle("on", at < length));
  $("#pay-confirm").disabled = length !== DIGITS;
}

/**
 * Open the pad. `request`: {params} of the JS-SDK, or {code_url}, or {out_trade_no}; `done` gets ok, cancel or fail, the
 * reason, and whether the person at the page has been told of it. As on a real phone the signature and the order are looked at first: what is wrong never opens the pad.
 */
export async function openPay(request, done = () => {}) {
  if (pending) finish("cancel");
  let looked;
  try {
    // Leaving the pad changes nothing: a harmless way to ask what stands behind the request.
    looked = await act("pay", { ...bodyOf(request), how: "cancel" }, store.openid, { quiet: true });
  } catch (error) {
    looked = { outcome: "refused", why: error.message };
  }
  if (looked.outcome === "refused") {
    toast(`${t("pay.refused")} ${looked.why}`, "bad");
    done("fail", looked.why, true);
    return;
  }
  const mine = { request, done, returning: document.activeElement };
  pending = mine;
  $("#pay-amount").textContent = "¥ …";
  $("#pay-title").textContent = "";
  $("#pay-merchant").textContent = looked.out_trade_no ?? "";
  $("#pay-error").textContent = "";
  $("#pay-password").value = "";
  showDots();
  $("#pay-pad").hidden = false;
  cover();
  $("#pay-password").focus();
  const order = await orderOf(looked.out_trade_no);
  if (pending !== mine) return;
  $("#pay-amount").textContent = order ? money(order.total) : "¥ –";
  $("#pay-title").textContent = order?.description ?? "";
  $("#pay-merchant").textContent = [order?.merchant ?? looked.mchid, looked.out_trade_no].filter(Boolean).join(" · ");
}

/** Tell whoever paid without a page why it failed. A voucher says that it was paid, and leaving the pad needs no words. */
export function tellOutcome(outcome, detail, told = false) {
  if (outcome === "fail" && detail && !told) toast(detail, "bad");
}

export const payCode = (codeUrl) => openPay({ code_url: codeUrl }, tellOutcome);

function finish(outcome, detail = "", told = false) {
  const { done, returning } = pending;
  pending = null;
  $("#pay-pad").hidden = true;
  cover();
  giveBack(returning);
  done(outcome, detail, told);
}

async function decide(how) {
  if (!pending) return;
  const mine = pending;
  const body = { ...bodyOf(mine.request), how };
  if (how === "confirm") body.password = $("#pay-password").value;
  for (const button of $$("#pay-pad button")) button.disabled = true;
  let result;
  try {
    result = await act("pay", body, store.openid, { quiet: true });
  } catch (error) {
    result = { err_msg: ":fail", outcome: "refused", why: error.message };
  }
  for (const button of $$("#pay-pad button")) button.disabled = false;
  showDots();
  if (pending !== mine) return;
  if (result.outcome === "wrong_password") {
    $("#pay-error").textContent = result.why;
    $("#pay-password").value = "";
    showDots();
    $("#pay-password").focus();
    return;
  }
  if (how === "slow" && result.outcome === "paying") toast(t("pay.slow.done"));
  if (result.outcome === "refused") toast(`${t("pay.refused")} ${result.why}`, "bad");
  finish(/:ok$/.test(result.err_msg) ? "ok" : /:cancel$/.test(result.err_msg) ? "cancel" : "fail", result.why ?? "", result.outcome === "refused");
}

/** A transfer to the user (requestMerchantTransfer): nothing is typed, it is taken or left. */
export async function openTransfer(params, done) {
  let transfer;
  try {
    // As with an order: what is wrong with the request never opens the sheet.
    const looked = await act("pay", { params, how: "cancel" }, store.openid, { quiet: true });
    if (looked.outcome === "refused") throw new Error(looked.why);
    transfer = await get("transfer", { package: params.package }, { quiet: true });
  } catch (error) {
    toast(`${t("pay.refused")} ${error.message}`, "bad");
    done("fail", error.message);
    return;
  }
  let answered = false;
  const decideTransfer = async (how) => {
    if (answered) return;
    answered = true;
    closeSheet();
    try {
      const result = await act("pay", { params, how }, store.openid, { quiet: true });
      if (result.outcome === "refused") toast(`${t("pay.refused")} ${result.why}`, "bad");
      done(/:ok$/.test(result.err_msg) ? "ok" : /:cancel$/.test(result.err_msg) ? "cancel" : "fail", result.why);
    } catch (error) {
      toast(error.message, "bad");
      done("fail", error.message);
    }
  };
  openSheet(
    t("transfer.title"),
    h("p", { class: "muted", text: [transfer.merchant, transfer.remark].filter(Boolean).join(" · ") }),
    h("p", { class: "amount", text: money(transfer.amount) }),
    h("div", { class: "row" }, h("button", { type: "button", id: "transfer-refuse", class: "quiet", text: t("pay.cancel"), on: { click: () => decideTransfer("cancel") } }), h("button", { type: "button", id: "transfer-take", class: "primary grow", text: t("transfer.take"), on: { click: () => decideTransfer("confirm") } })),
  );
  // However the sheet goes, the page hears of it.
  onceClosed(() => decideTransfer("cancel"));
}

export function startPay() {
  const input = $("#pay-password");
  input.addEventListener("input", () => {
    input.value = input.value.replace(/\D/g, "").slice(0, DIGITS);
    showDots();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && input.value.length === DIGITS) decide("confirm");
  });
  $("#pay-keys").addEventListener("click", (event) => {
    const key = event.target.closest("button")?.dataset.key;
    if (!key) return;
    input.value = key === "back" ? input.value.slice(0, -1) : (input.value + key).slice(0, DIGITS);
    showDots();
  });
  $("#pay-dots").addEventListener("click", () => input.focus());
  $("#pay-confirm").addEventListener("click", () => decide("confirm"));
  $("#pay-cancel").addEventListener("click", () => decide("cancel"));
  $("#pay-fail").addEventListener("click", () => decide("fail"));
  $("#pay-slow").addEventListener("click", () => decide("slow"));
  $("#pay-pad").addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      decide("cancel");
    }
  });
  on("reset", () => { if (pending) finish("cancel"); });
}
