// The browser inside the phone: an iframe with an address, back, close, and a way out into a real tab.
// Addresses of the platform's own hosts are answered by this simulator.

import { toast } from "./api.js";
import { cover, giveBack } from "./dialog.js";
import { $, webAddress } from "./dom.js";
import { t } from "./i18n.js";
import { store } from "./store.js";

const HOSTS = { "open.weixin.qq.com": "open", "mp.weixin.qq.com": "mp" };
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

let loads = 0;
let cameFrom = "";
let address = "";
// Whether the page in the frame has said itself where it is.
let said = false;
let returning = null;

/** The developer's page of the frame, when it has told where it is. */
export const frameWindow = () => ($("#browser").hidden ? null : $("#browser-frame").contentWindow);

export const isLoopback = (url) => LOOPBACK.test(url.hostname);

/** Where an address leads inside the simulator. */
export function resolve(value) {
  const url = webAddress(value);
  if (!url) return null;
  const prefix = HOSTS[url.hostname];
  if (prefix) return `${location.origin}/${prefix}${url.pathname}${url.search}${url.hash}`;
  // This same simulator under another loopback name: the cookie that tells who is at the phone belongs to ours.
  if (isLoopback(url) && url.port === location.port && LOOPBACK.test(location.hostname)) return `${location.origin}${url.pathname}${url.search}${url.hash}`;
  return url.href;
}

/** Tell the consent page who is holding this phone, and whether they came from the chat or the menu. */
function introduce(entry) {
  for (const path of ["/open", "/connect"]) {
    document.cookie = `sim_user=${encodeURIComponent(store.openid ?? "")}; path=${path}; SameSite=Lax`;
    document.cookie = `sim_entry=${entry}; path=${path}; SameSite=Lax${entry ? "" : "; max-age=0"}`;
  }
}

function showAddress(value) {
  address = value;
  const url = webAddress(value);
  $("#browser-address").textContent = url ? `${url.host}${url.pathname === "/" ? "" : url.pathname}` : value;
  $("#browser-address").title = value;
  $("#browser-title").textContent = url ? url.host : "";
}

const isOurs = (value) => webAddress(value)?.origin === location.origin;

function showElsewhere() {
  $("#browser-title").textContent = t("browser.elsewhere");
  $("#browser-address").textContent = "";
  $("#browser-address").title = "";
}

/** Open an address. `entry`: "chat" when it was tapped in the chat or in the menu. */
export function openUrl(value, entry = "") {
  const target = resolve(value);
  if (!target) {
    toast(t("browser.bad", { url: String(value) }), "bad");
    return;
  }
  cameFrom = entry;
  introduce(entry);
  loads = 0;
  said = false;
  const frame = $("#browser-frame");
  if ($("#browser").hidden) returning = document.activeElement;
  $("#browser").hidden = false;
  $("#browser").classList.add("loading");
  cover();
  showAddress(target);
  const here = new URL(target);
  const beyond = here.origin !== location.origin && !isLoopback(here);
  $("#browser-beyond").hidden = !beyond;
  frame.hidden = beyond;
  if (beyond) {
    $("#browser").classList.remove("loading");
    $("#browser-beyond-url").textContent = target;
    frame.removeAttribute("src");
  } else {
    frame.src = target;
  }
  $("#browser-close").focus();
}

export function closeBrowser() {
  const browser = $("#browser");
  if (browser.hidden) return;
  browser.hidden = true;
  browser.classList.remove("loading");
  const old = $("#browser-frame");
  // A fresh frame: its history and its page are gone, as when the real browser is closed.
  const frame = old.cloneNode(false);
  frame.removeAttribute("src");
  old.replaceWith(frame);
  watch(frame);
  introduce("");
  cover();
  giveBack(returning);
  returning = null;
}

function watch(frame) {
  frame.addEventListener("load", () => {
    loads += 1;
    $("#browser").classList.remove("loading");
    try {
      const here = frame.contentWindow.location.href;
      if (here && here !== "about:blank") showAddress(here);
      const title = frame.contentDocument?.title;
      if (title) $("#browser-title").textContent = title;
    } catch {
      // A page of another origin keeps its address to itself: after a link or a redirect it is not known any more.
      if (!said && (loads > 1 || isOurs(address))) showElsewhere();
    }
    said = false;
  });
}

/** A page that uses the stand-in for the JS-SDK says where it is and what it is called. */
export function pageSays({ href, title }) {
  said = true;
  if (webAddress(href)) showAddress(href);
  if (title) $("#browser-title").textContent = String(title).slice(0, 80);
}

function back() {
  if (loads > 1) {
    loads -= 2;
    history.back();
  } else {
    closeBrowser();
  }
}

export function startBrowser() {
  watch($("#browser-frame"));
  $("#browser-close").addEventListener("click", closeBrowser);
  $("#browser-back").addEventListener("click", back);
  $("#browser-reload").addEventListener("click", () => {
    introduce(cameFrom);
    $("#browser").classList.add("loading");
    $("#browser-frame").src = address;
  });
  for (const button of [$("#browser-open"), $("#browser-beyond-open")]) {
    button.addEventListener("click", () => window.open(address, "_blank", "noopener"));
  }
}
