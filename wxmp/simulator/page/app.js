// The page's beginning: wire the rooms together, then connect. See index.html for the element ids tests may rely on.

import { get } from "./api.js";
import { startBridge } from "./bridge.js";
import { closeBrowser, startBrowser } from "./browser.js";
import { startChat } from "./chat.js";
import { startClock } from "./clock.js";
import { closeDetail, startDetail } from "./detail.js";
import { closeSheet, startDialog } from "./dialog.js";
import { $, $$, h, icon } from "./dom.js";
import { startFaults } from "./faults.js";
import { startLanguage, t } from "./i18n.js";
import { connect } from "./live.js";
import { startMenu } from "./menu.js";
import { startPay } from "./pay.js";
import { loadPhones, renderPhone, startPhone } from "./phone.js";
import { startScan } from "./scan.js";
import { emit, on, remember, remembered, store } from "./store.js";
import { startTimeline } from "./timeline.js";
import { startTokens } from "./tokens.js";
import { startWorld } from "./world.js";

// --- account -------------------------------------------------------------------------------------------------

function takeState(state) {
  const first = store.state === null;
  store.state = state;
  const appids = Object.keys(state.accounts ?? {});
  if (!appids.includes(store.appid)) {
    const wanted = remembered("appid", "");
    store.appid = appids.includes(wanted) ? wanted : (state.appid ?? appids[0] ?? null);
    store.openid = null;
    if (!first) {
      closeSheet();
      closeBrowser();
    }
    loadPhones().catch(() => {});
  }
  renderAccounts(appids);
  emit("state", { first });
}

function renderAccounts(appids) {
  const select = $("#account");
  const key = JSON.stringify(appids.map((appid) => [appid, store.state.accounts[appid].name]));
  if (select.dataset.key !== key) {
    select.dataset.key = key;
    select.replaceChildren(...appids.map((appid) => h("option", { value: appid, text: store.state.accounts[appid].name ? `${store.state.accounts[appid].name} · ${appid}` : appid })));
  }
  select.value = store.appid ?? "";
  select.disabled = appids.length < 2;
}

// --- looks ---------------------------------------------------------------------------------------------------

const THEMES = ["auto", "light", "dark"];

function showTheme(theme) {
  document.documentElement.dataset.theme = theme;
  $("#theme").dataset.theme = theme;
  $("#theme").replaceChildren(icon(`theme_${theme}`));
  const label = t(`theme.${theme}`);
  $("#theme").title = label;
  $("#theme").setAttribute("aria-label", label);
}

function startTheme() {
  let theme = remembered("theme", "auto");
  showTheme(theme);
  $("#theme").addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    remember("theme", theme);
    showTheme(theme);
  });
  on("language", () => showTheme(theme));
}

function showTab(name) {
  document.body.dataset.tab = name;
  for (const tab of $$("#tabs [data-tab]")) tab.setAttribute("aria-selected", String(tab.dataset.tab === name));
  emit("tab", name);
}

function startTabs() {
  for (const tab of $$("#tabs [data-tab]")) tab.addEventListener("click", () => showTab(tab.dataset.tab));
  $("#tabs").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const tabs = $$("#tabs [data-tab]");
    const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
    next.focus();
    next.click();
  });
  on("show-tab", showTab);
  showTab("phone");
}

/** The line between timeline and tools can be moved, by pointer and by keys. */
function startSplitter() {
  const splitter = $("#splitter");
  const main = $("#right");
  const set = (percent) => {
    const whole = Math.round(Math.min(85, Math.max(20, percent)));
    main.style.setProperty("--split", `${whole}%`);
    splitter.setAttribute("aria-valuenow", String(whole));
    remember("split", String(whole));
  };
  set(Number(remembered("split", "54")));
  splitter.addEventListener("pointerdown", (event) => {
    splitter.setPointerCapture(event.pointerId);
    const move = (moved) => {
      const box = main.getBoundingClientRect();
      set(((moved.clientY - box.top) / box.height) * 100);
    };
    splitter.addEventListener("pointermove", move);
    splitter.addEventListener("pointerup", () => splitter.removeEventListener("pointermove", move), { once: true });
  });
  const here = () => Number(splitter.getAttribute("aria-valuenow"));
  // A double click or Enter gives the timeline all the room, and takes it back.
  const flip = () => set(here() > 80 ? 54 : 85);
  splitter.addEventListener("dblclick", flip);
  splitter.addEventListener("keydown", (event) => {
    const act = { ArrowUp: () => set(here() - 4), ArrowDown: () => set(here() + 4), Home: () => set(20), End: () => set(85), Enter: flip }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}

function putIcons() {
  for (const place of $$("[data-icon]")) place.prepend(icon(place.dataset.icon));
}

function start() {
  putIcons();
  startLanguage();
  startTheme();
  startTabs();
  startSplitter();
  startDialog();
  startChat();
  startPhone();
  startMenu();
  startBrowser();
  startScan();
  startPay();
  startBridge();
  startTimeline();
  startDetail();
  startTokens();
  startClock();
  startFaults();
  startWorld();

  $("#account").addEventListener("change", (event) => {
    store.appid = event.target.value;
    store.openid = null;
    store.phone = null;
    remember("appid", store.appid);
    closeSheet();
    closeBrowser();
    emit("state", {});
    loadPhones().catch(() => {});
  });
  $("#bar-lint").addEventListener("click", () => {
    showTab("tools");
    $("#lint-card").scrollIntoView({ block: "nearest" });
    $("#lint summary")?.focus();
  });
  $("#bar-faults").addEventListener("click", () => {
    showTab("tools");
    $("#faults-card").scrollIntoView({ block: "nearest" });
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      if (!$("#sheet").hidden) closeSheet();
      else if (!$("#browser").hidden) closeBrowser();
      else closeDetail();
    } else if (event.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName ?? "")) {
      event.preventDefault();
      showTab(document.body.dataset.tab === "phone" ? "timeline" : document.body.dataset.tab);
      $("#timeline-filter").focus();
    }
  });

  on("state-read", takeState);
  on("reload", async () => {
    try {
      emit("state-read", await get("state", {}, { quiet: true }));
      await loadPhones();
    } catch {
      // The stream will try again.
    }
  });
  on("reset", () => {
    store.openid = null;
    store.phone = null;
    store.unread.clear();
    closeSheet();
    closeBrowser();
    renderPhone();
  });
  connect();
}

start();
