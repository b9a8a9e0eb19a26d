// What a page inside the phone's browser may ask of the phone. Only the page in the frame is heard, and only from this
// machine: a page of somebody else has no business here.

import { post, toast } from "./api.js";
import { closeBrowser, frameWindow, isLoopback, openUrl, pageSays } from "./browser.js";
import { onceClosed, openSheet } from "./dialog.js";
import { h, webAddress } from "./dom.js";
import { t } from "./i18n.js";
import { openPay, openTransfer } from "./pay.js";
import { openScan } from "./scan.js";

const HERE = { latitude: 31.2304, longitude: 121.4737, speed: "0", accuracy: "65" };

const CALLS = {
  hello: (data) => {
    pageSays(data);
    return { ok: true };
  },
  // The signature of wx.config, judged as the platform does: with the account's living ticket.
  config: (params, answer) => {
    post("jssdk", params, { quiet: true })
      .catch((error) => ({ ok: false, error: "config:fail, invalid signature", why: error.message }))
      .then((judged) => {
        if (!judged.ok) toast(t("wx.config.failed", { why: judged.why }), "bad", "wx.config");
        answer(judged);
      });
  },
  pay: (params, answer) => openPay({ params }, (outcome, detail) => answer({ outcome, detail })),
  transfer: (params, answer) => {
    openTransfer(params, (outcome, detail) => answer({ outcome, detail }));
  },
  closeWindow: () => {
    closeBrowser();
    return {};
  },
  scanQRCode: (_params, answer) => {
    openScan({ done: (text) => answer({ resultStr: text }) });
    // The first answer counts: this one is for whoever puts the scanner away.
    onceClosed(() => answer({ cancelled: true }));
  },
  getLocation: () => HERE,
  openLocation: (place) => {
    openSheet(t("location"), h("p", { text: String(place.name ?? "") }), h("p", { class: "muted", text: String(place.address ?? "") }), h("p", { class: "mono", text: `${Number(place.latitude)}, ${Number(place.longitude)}` }));
    return {};
  },
  openUrl: ({ url }) => {
    openUrl(url);
    return {};
  },
};

export function startBridge() {
  window.addEventListener("message", (event) => {
    const from = webAddress(event.origin);
    if (event.source === null || event.source !== frameWindow() || !from || !isLoopback(from)) return;
    const { wxmp, id, call, params } = event.data ?? {};
    if (wxmp !== 1 || !Object.hasOwn(CALLS, call)) return;
    const { source, origin } = event;
    const answer = (result) => source.postMessage({ wxmp: 1, id, result }, origin);
    const now = CALLS[call](params ?? {}, answer);
    // What takes a while answers by itself, later.
    if (now && typeof now.then !== "function") answer(now);
  });
}

