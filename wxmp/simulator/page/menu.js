// The menu at the bottom of the chat: up to three buttons, sub-menus that open upwards, and what a tap does.

import { act } from "./api.js";
import { openUrl } from "./browser.js";
import { showMiniprogram } from "./chat.js";
import { askFields } from "./dialog.js";
import { $, $$, fill, h, icon } from "./dom.js";
import { t } from "./i18n.js";
import { openScan } from "./scan.js";
import { remember, remembered } from "./store.js";

let openAt = null;

const subsOf = (button) => {
  const subs = button.sub_button;
  return Array.isArray(subs) ? subs : (subs?.list ?? []);
};
const keyOf = (button) => button.key || button.url || button.media_id || button.article_id || button.name;

async function tapped(button) {
  closeSub();
  const key = keyOf(button);
  const tap = (more = {}) => act("tap", { key, ...more }).catch(() => null);
  switch (button.type) {
    case "view":
      await tap();
      openUrl(button.url, "chat");
      return;
    case "miniprogram":
      await tap();
      showMiniprogram({ title: button.name, appid: button.appid, pagepath: button.pagepath });
      return;
    case "scancode_push":
    case "scancode_waitmsg":
      openScan({ title: button.name, done: (text) => tap({ scan_result: text }) });
      return;
    case "pic_sysphoto":
    case "pic_photo_or_album":
    case "pic_weixin":
      askFields(button.name, [{ name: "pictures", label: t("menu.pictures"), value: "1", type: "number", min: 1, max: 9 }], t("send"), ({ pictures }) => tap({ pictures: Number(pictures) }));
      return;
    case "article_view_limited":
    case "view_limited": {
      const answer = await tap();
      const address = answer?.url ?? answer?.article_url;
      if (address) openUrl(address, "chat");
      return;
    }
    default:
      await tap();
  }
}

function closeSub() {
  openAt = null;
  for (const sub of $$("#menu-bar .sub-menu")) sub.hidden = true;
  for (const button of $$("#menu-bar [aria-expanded]")) button.setAttribute("aria-expanded", "false");
}

function leaf(button, className) {
  return h("button", { type: "button", class: className, role: "menuitem", title: `${button.type ?? ""} ${button.key ?? button.url ?? ""}`.trim(), dataset: { menuKey: keyOf(button) }, text: button.name, on: { click: () => tapped(button) } });
}

function top(button, at) {
  const subs = subsOf(button);
  if (!subs.length) return h("div", { class: "menu-item" }, leaf(button, "menu-top"));
  const sub = h("div", { class: "sub-menu", role: "menu", "aria-label": button.name, hidden: openAt !== at }, subs.map((item) => leaf(item, "menu-sub")));
  const toggle = h(
    "button",
    {
      type: "button",
      class: "menu-top",
      role: "menuitem",
      "aria-haspopup": "menu",
      "aria-expanded": String(openAt === at),
      dataset: { menuKey: button.name },
      on: {
        click: () => {
          const opening = sub.hidden;
          closeSub();
          if (opening) {
            openAt = at;
            sub.hidden = false;
            toggle.setAttribute("aria-expanded", "true");
          }
        },
      },
    },
    icon("list", "tiny"),
    h("span", { text: button.name }),
  );
  return h("div", { class: "menu-item" }, sub, toggle);
}

export function renderMenu(phone) {
  const buttons = phone?.following ? (phone.menu?.button ?? []) : [];
  const key = JSON.stringify([phone?.openid, phone?.following, buttons, document.documentElement.lang]);
  const bar = $("#menu-bar");
  if (bar.dataset.key !== key) openAt = null;
  fill(bar, buttons.length ? buttons.map(top) : [h("p", { class: "menu-none", text: phone ? t(phone.following ? "menu.none" : "menu.stranger") : "" })], key);
  $("#menu-row").classList.toggle("bare", buttons.length === 0);
}

function arrows(event) {
  const items = $$('#menu-bar [role="menuitem"]').filter((item) => item.offsetParent !== null);
  const at = items.indexOf(document.activeElement);
  if (event.key === "Escape" && openAt !== null) {
    const owner = document.activeElement.closest(".menu-item")?.querySelector(".menu-top");
    closeSub();
    owner?.focus();
    event.stopPropagation();
    return;
  }
  const here = document.activeElement.closest(".menu-item");
  const sub = here ? [...here.querySelectorAll(".menu-sub")] : [];
  if (event.key === "ArrowUp" || event.key === "ArrowDown") {
    event.preventDefault();
    if (document.activeElement.classList.contains("menu-top")) {
      if (document.activeElement.getAttribute("aria-expanded") === "false") document.activeElement.click();
      (event.key === "ArrowUp" ? sub[sub.length - 1] : sub[0])?.focus();
    } else {
      const step = event.key === "ArrowDown" ? 1 : -1;
      const next = sub[sub.indexOf(document.activeElement) + step];
      (next ?? here.querySelector(".menu-top")).focus();
    }
  } else if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
    event.preventDefault();
    const tops = items.filter((item) => item.classList.contains("menu-top"));
    const owner = here?.querySelector(".menu-top");
    const step = event.key === "ArrowRight" ? 1 : -1;
    tops[(tops.indexOf(owner) + step + tops.length) % tops.length]?.focus();
  } else if (at < 0) {
    closeSub();
  }
}

export function startMenu() {
  $("#menu-bar").addEventListener("keydown", arrows);
  document.addEventListener("click", (event) => {
    if (openAt !== null && !event.target.closest("#menu-bar")) closeSub();
  });
  const toggle = $("#keyboard-toggle");
  const show = (visible) => {
    $("#composer").hidden = !visible;
    toggle.setAttribute("aria-pressed", String(visible));
  };
  show(remembered("keyboard", "yes") === "yes");
  toggle.addEventListener("click", () => {
    const visible = $("#composer").hidden;
    show(visible);
    remember("keyboard", visible ? "yes" : "no");
    if (visible) $("#chat-input").focus();
  });
}

