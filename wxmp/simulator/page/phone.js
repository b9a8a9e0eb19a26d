// The phone: who holds it, the chat's header, what can be written and sent.

import { act, get, post } from "./api.js";
import { closeBrowser } from "./browser.js";
import { renderChat } from "./chat.js";
import { askFields, closeSheet, openSheet } from "./dialog.js";
import { openPopup } from "./popup.js";
import { $, $$, avatar, fill, h, icon, throttle } from "./dom.js";
import { t } from "./i18n.js";
import { connection } from "./live.js";
import { renderMenu } from "./menu.js";
import { account, accountName, emit, on, remember, remembered, store } from "./store.js";
import { countdown, now } from "./time.js";

const seen = new Map();

export async function loadPhones() {
  const { phones } = await get("phones", { appid: store.appid }, { quiet: true });
  // In the order they came: tabs that jump about with every message cannot be hit.
  phones.sort((a, b) => (a.number ?? 0) - (b.number ?? 0));
  store.phones = phones;
  for (const openid of [...store.unread]) if (!phones.some((phone) => phone.openid === openid)) store.unread.delete(openid);
  if (!phones.some((phone) => phone.openid === store.openid)) {
    // Another world: what lay over the chat belonged to somebody who is gone.
    if (store.openid) {
      closeSheet();
      closeBrowser();
    }
    const wanted = new URLSearchParams(location.hash.slice(1)).get("user") ?? remembered("openid", "");
    store.openid = (phones.find((phone) => phone.openid === wanted) ?? phones[0])?.openid ?? null;
    store.phone = null;
    await loadPhone();
  }
  for (const phone of phones) {
    // A new line is news; a new code, order or menu changes every phone and is none.
    const before = seen.get(phone.openid);
    if (before !== undefined && phone.lines > before && phone.openid !== store.openid) store.unread.add(phone.openid);
    seen.set(phone.openid, phone.lines);
  }
  renderTabs();
}

export async function loadPhone() {
  if (!store.openid) {
    store.phone = null;
    renderPhone();
    return;
  }
  const openid = store.openid;
  try {
    const phone = await get("phone", { openid, appid: store.appid }, { quiet: true });
    if (openid !== store.openid) return;
    phone.read_at = now();
    store.phone = phone;
    renderPhone();
    // What is shown here is an open chat: a phone that has just followed reads the menu now.
    if (phone.following && phone.menu?.read_at === null) await act("open", {}, openid, { quiet: true });
  } catch {
    // The person may be gone after a reset; the list is read again anyway.
  }
}

// A late call must not ask a restarted simulator for people of the world before: everything is read again then anyway.
const live = () => connection() === "live";
const soonPhones = throttle(250, () => { if (live()) loadPhones().catch(() => {}); });
const soonPhone = throttle(80, () => { if (live()) loadPhone(); });

export function choose(openid, { opened = true } = {}) {
  if (openid !== store.openid) {
    closeSheet();
    closeBrowser();
  }
  store.openid = openid;
  store.unread.delete(openid);
  remember("openid", openid);
  // The address names the person: two windows side by side hold two phones.
  history.replaceState(history.state, "", `#user=${encodeURIComponent(openid)}`);
  renderTabs();
  loadPhone();
  if (opened) act("open", {}, openid, { quiet: true }).catch(() => {});
}

function tabFor(phone) {
  const chosen = phone.openid === store.openid;
  const unread = store.unread.has(phone.openid);
  return h(
    "button",
    {
      type: "button",
      class: `person ${phone.following ? "" : "stranger"}`,
      role: "tab",
      "aria-controls": "screen",
      "aria-selected": String(chosen),
      tabindex: chosen ? "0" : "-1",
      title: `${phone.name}\n${phone.openid}\n${phone.following ? t("follower") : t("stranger")}`,
      dataset: { openid: phone.openid },
      on: { click: () => choose(phone.openid) },
    },
    avatar(phone.name, "small"),
    h("span", { class: "person-name", text: phone.name }),
    unread && h("span", { class: "unread", role: "img", "aria-label": t("unread") }),
  );
}

// --- everybody in a list -------------------------------------------------------------------------------------

/** From so many people on, the row of tabs is no way to find somebody. */
const MANY = 4;

function personRow(phone) {
  const chosen = phone.openid === store.openid;
  return h(
    "li",
    {},
    h(
      "button",
      { type: "button", class: "person-row", "aria-current": chosen ? "true" : null, dataset: { openid: phone.openid }, on: { click: () => { closeSheet(); choose(phone.openid); } } },
      avatar(phone.name, phone.following ? "" : "faded"),
      h("span", { class: "grow" }, h("b", {}, h("bdi", { text: phone.name })), h("small", { class: "muted", text: phone.last || t(phone.following ? "follower" : "stranger") })),
      store.unread.has(phone.openid) && h("span", { class: "unread", role: "img", "aria-label": t("unread") }),
    ),
  );
}

function openPeople() {
  const list = h("ul", { id: "people-list", class: "people-list" });
  const none = h("p", { class: "muted", hidden: true, text: t("phone.nobody") });
  const search = h("input", { id: "people-search", type: "search", autocomplete: "off", placeholder: t("phone.search"), "aria-label": t("phone.search") });
  const show = () => {
    const wanted = search.value.trim().toLowerCase();
    const found = store.phones.filter((phone) => phone.name.toLowerCase().includes(wanted) || phone.openid.toLowerCase() === wanted);
    list.replaceChildren(...found.map(personRow));
    none.hidden = found.length > 0;
  };
  search.addEventListener("input", show);
  search.addEventListener("keydown", (event) => {
    const first = list.querySelector("button");
    if (event.key === "Enter") first?.click();
    else if (event.key === "ArrowDown") first?.focus();
    else return;
    event.preventDefault();
  });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const rows = [...list.querySelectorAll("button")];
    (rows[rows.indexOf(document.activeElement) + step] ?? search).focus();
  });
  show();
  openSheet(t("phone.everybody", { n: store.phones.length }), search, list, none);
}

function renderCount() {
  const button = $("#people-open");
  const many = store.phones.length >= MANY;
  button.hidden = !many;
  button.querySelector(".label").textContent = String(store.phones.length);
  button.querySelector(".unread").hidden = store.unread.size === 0;
}

export function renderTabs() {
  const key = JSON.stringify([store.openid, store.phones.map((p) => [p.openid, p.name, p.following, store.unread.has(p.openid)]), t("follower")]);
  const list = $("#phone-list");
  const focused = list.contains(document.activeElement);
  if (fill(list, store.phones.map(tabFor), key)) {
    const current = list.querySelector('[aria-selected="true"]');
    current?.scrollIntoView({ block: "nearest", inline: "nearest" });
    if (focused) current?.focus();
  }
  renderCount();
  $("#phone-hint").hidden = store.phones.length > 0;
  $("#unread-badge").hidden = store.unread.size === 0;
}

function windowChip(window, readAt) {
  const name = t(`window.${window.trigger}`);
  const left = window.left === null || window.left === undefined ? "∞" : String(window.left);
  const chip = h("span", { class: window.left === 0 ? "chip used" : "chip", title: t("window.title", { name, left }) }, h("b", { text: name }), ` ${left} · `);
  const time = h("span", { class: "mono" });
  chip.append(time);
  // A window that is over goes: time alone changes no phone, so nobody tells of it.
  if (typeof window.seconds_left === "number") countdown(time, readAt + window.seconds_left, { after: soonPhone });
  else time.textContent = "∞";
  return chip;
}

export function renderPhone() {
  const phone = store.phone;
  const screen = $("#screen");
  screen.dataset.empty = String(!phone);
  $("#account-name").textContent = accountName();
  const kind = account()?.kind;
  $("#account-kind").textContent = kind ? t(`kind.${kind}`) : "";
  fill($("#account-avatar"), [avatar(accountName(), "account")], accountName());
  $("#follow").hidden = !phone || phone.following;
  $("#unfollow").hidden = !phone || !phone.following;
  $("#typing").hidden = !phone?.typing;
  for (const control of $$("#chat-input, #chat-send, #attach")) control.disabled = !phone;
  $("#chat-input").placeholder = phone ? t(phone.following ? "chat.placeholder" : "chat.placeholder.stranger", { name: short(phone.name) }) : "";
  if (phone) {
    const open = (phone.windows ?? []).filter((window) => !(window.seconds_left <= 0));
    open.sort((a, b) => (a.left === 0) - (b.left === 0) || b.seconds_left - a.seconds_left);
    const windows = open.map((window) => windowChip(window, phone.read_at));
    fill(
      $("#windows"),
      windows.length ? [h("span", { class: "strip-name", text: t("windows") }), ...windows] : [h("span", { class: "strip-name", text: t(phone.following ? "windows.none" : "windows.stranger") })],
    );
    const marks = [phone.blacklisted && t("blacklisted"), ...(phone.tags ?? [])].filter(Boolean);
    for (const mark of marks) $("#windows").append(h("span", { class: "chip quiet", text: mark }));
  } else {
    fill($("#windows"), []);
  }
  reachable($("#windows"));
  renderStale(phone);
  renderChat(phone);
  renderMenu(phone);
  emit("phone-shown", phone);
}

const short = (name) => ([...name].length > 16 ? `${[...name].slice(0, 15).join("")}…` : name);

/** What scrolls must be in reach of the keyboard. */
function reachable(strip) {
  if (strip.scrollWidth > strip.clientWidth + 1) strip.tabIndex = 0;
  else strip.removeAttribute("tabindex");
}

function renderStale(phone) {
  const box = $("#stale");
  const seconds = phone?.menu?.stale_seconds;
  // A menu is shown as it was when it was last read: only a difference deserves the badge.
  box.hidden = !phone || typeof seconds !== "number" || !(seconds > 0) || phone.menu.stale === false;
  if (!box.hidden) countdown($("#stale-for"), phone.read_at - seconds, { since: true, show: (text) => t("menu.stale", { time: text }) });
}

// --- writing -------------------------------------------------------------------------------------------------

async function say() {
  const input = $("#chat-input");
  const text = input.value;
  if (!text.trim() || !store.openid) return;
  input.value = "";
  grow();
  // Whoever writes wants to see it, wherever they had scrolled to.
  $("#chat-scroll").dataset.end = "true";
  try {
    await act("say", { text });
  } catch {
    input.value = text;
    grow();
  }
}

function grow() {
  const input = $("#chat-input");
  input.style.height = "auto";
  input.style.height = `${Math.min(input.scrollHeight + 2, 112)}px`;
}

async function addUser(wanted = "") {
  const input = $("#add-user-name");
  const name = wanted || input.value.trim();
  const body = { appid: store.appid, ...(name ? { name } : {}) };
  const known = name && store.phones.find((phone) => phone.name === name);
  if (known) {
    choose(known.openid);
    input.value = "";
    return;
  }
  const { openid } = await post("users/new/open", body);
  input.value = "";
  store.openid = openid;
  await loadPhones().catch(() => {});
  choose(openid, { opened: false });
}

function toBase64(buffer) {
  const bytes = new Uint8Array(buffer);
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}

async function sendBlob(action, blob, filename) {
  await act(action, { data: toBase64(await blob.arrayBuffer()), filename });
}

/** A picture made here, so that there is always one to send: a sky, hills, and the time. */
function samplePicture() {
  const canvas = h("canvas", { width: 640, height: 420 });
  const draw = canvas.getContext("2d");
  const hue = Math.floor(Math.random() * 360);
  const sky = draw.createLinearGradient(0, 0, 0, 420);
  sky.addColorStop(0, `hsl(${hue} 62% 62%)`);
  sky.addColorStop(1, `hsl(${(hue + 50) % 360} 70% 88%)`);
  draw.fillStyle = sky;
  draw.fillRect(0, 0, 640, 420);
  draw.fillStyle = "rgb(255 255 255 / 0.85)";
  draw.beginPath();
  draw.arc(480, 110, 42, 0, 7);
  draw.fill();
  for (const [level, light] of [[250, 46], [300, 36], [350, 26]]) {
    draw.fillStyle = `hsl(${(hue + 140) % 360} 34% ${light}%)`;
    draw.beginPath();
    draw.moveTo(0, 420);
    for (let x = 0; x <= 640; x += 16) draw.lineTo(x, level + 34 * Math.sin(x / (60 + light) + light) + 16 * Math.sin(x / 23 + hue));
    draw.lineTo(640, 420);
    draw.fill();
  }
  draw.fillStyle = "rgb(255 255 255 / 0.9)";
  draw.font = "600 20px system-ui, sans-serif";
  draw.fillText("wxmp simulator", 24, 394);
  return new Promise((resolve) => { canvas.toBlob(resolve, "image/jpeg", 0.85); });
}

/** Three seconds of silence as the phones record it: AMR, 50 frames a second. */
function sampleVoice(seconds = 3) {
  const head = new TextEncoder().encode("#!AMR\n");
  const bytes = new Uint8Array(head.length + seconds * 50 * 13);
  bytes.set(head);
  for (let frame = 0; frame < seconds * 50; frame += 1) bytes[head.length + frame * 13] = 0x04;
  return new Blob([bytes], { type: "audio/amr" });
}

function pick(accept, done) {
  const input = h("input", { type: "file", accept, class: "offscreen", "aria-hidden": "true", tabindex: "-1" });
  input.addEventListener("change", () => {
    const file = input.files?.[0];
    input.remove();
    if (file) done(file);
  });
  input.addEventListener("cancel", () => input.remove());
  document.body.append(input);
  input.click();
}

const ATTACHMENTS = [
  ["image", "attach.sample_image", async () => sendBlob("image", await samplePicture(), "hills.jpg")],
  ["image", "attach.image", () => pick("image/*", (file) => sendBlob("image", file, file.name))],
  ["voice", "attach.voice", () => sendBlob("voice", sampleVoice(), "voice.amr")],
  ["video", "attach.video", () => pick("video/*", (file) => sendBlob("video", file, file.name))],
  ["video", "attach.sample_video", () => act("video", {})],
  [
    "pin",
    "attach.location",
    () =>
      askFields(
        t("attach.location"),
        [
          { name: "label", label: t("place.label"), value: "上海市黄浦区人民大道200号" },
          { name: "latitude", label: t("place.latitude"), value: "31.2304", type: "number" },
          { name: "longitude", label: t("place.longitude"), value: "121.4737", type: "number" },
        ],
        t("send"),
        (place) => act("location", { Location_X: Number(place.latitude), Location_Y: Number(place.longitude), Scale: 15, Label: place.label }).catch(() => {}),
      ),
  ],
  [
    "link",
    "attach.link",
    () =>
      askFields(
        t("attach.link"),
        [
          { name: "Title", label: t("link.title"), value: "Hello" },
          { name: "Description", label: t("link.description"), value: "" },
          { name: "Url", label: t("link.url"), value: "https://example.com/" },
        ],
        t("send"),
        (link) => act("link", link).catch(() => {}),
      ),
  ],
  ["pin", "attach.report_location", () => act("report_location", {})],
  ["bell", "attach.subscribe", openPopup],
];

function openAttachments() {
  openSheet(
    t("attach"),
    h(
      "div",
      { class: "tiles" },
      ATTACHMENTS.map(([name, label, run]) =>
        h(
          "button",
          {
            type: "button",
            class: "tile",
            dataset: { attach: label.slice(7) },
            on: {
              click: async () => {
                closeSheet();
                try {
                  await run();
                } catch {
                  // The toast has said it.
                }
              },
            },
          },
          h("span", { class: "tile-icon" }, icon(name)),
          h("span", { text: t(label) }),
        ),
      ),
    ),
  );
}

export function startPhone() {
  const input = $("#chat-input");
  input.addEventListener("input", grow);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      say();
    }
  });
  $("#chat-send").addEventListener("click", say);
  $("#attach").addEventListener("click", openAttachments);
  $("#follow").addEventListener("click", () => act("follow").catch(() => {}));
  $("#unfollow").addEventListener("click", () => act("unfollow").catch(() => {}));
  $("#menu-refresh").addEventListener("click", () => act("refresh_menu").then(() => loadPhone()).catch(() => {}));
  $("#first-user").addEventListener("click", () => addUser(t("phone.first.name")).then(loadPhone).then(() => $("#follow").focus()).catch(() => {}));
  $("#people-open").addEventListener("click", openPeople);
  $("#phone-list").addEventListener("wheel", (event) => {
    if (event.deltaX === 0) event.currentTarget.scrollLeft += event.deltaY;
  }, { passive: true });
  new ResizeObserver(() => reachable($("#windows"))).observe($("#windows"));
  new ResizeObserver(() => $('#phone-list [aria-selected="true"]')?.scrollIntoView({ block: "nearest", inline: "nearest" })).observe($("#phone-list"));
  $("#add-user-form").addEventListener("submit", (event) => {
    event.preventDefault();
    addUser().catch(() => {});
  });
  $("#phone-list").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || !store.phones.length) return;
    event.preventDefault();
    const at = store.phones.findIndex((phone) => phone.openid === store.openid);
    choose(store.phones[(at + step + store.phones.length) % store.phones.length].openid);
    $('#phone-list [aria-selected="true"]')?.focus();
  });
  on("revisions", (revisions) => {
    const changed = revisions[store.appid] ?? {};
    if (!Object.keys(changed).length) return;
    if (store.openid in changed) soonPhone();
    soonPhones();
  });
  on("state", () => {
    if (!store.phone) renderPhone();
  });
  on("language", () => {
    renderTabs();
    renderPhone();
  });
}
