// The timeline: every exchange in both directions. Thousands of rows, but only those in view are in the document.

import { closeDetail, showDetail } from "./detail.js";
import { $, copyText, h, icon } from "./dom.js";
import { t } from "./i18n.js";
import { account, emit, on, store } from "./store.js";
import { clockText, dateText } from "./time.js";

const ROW = 30;
const MARGIN = 12;
/** So many pixels from its end a list is at its end: less than a row may be all that there is to scroll. */
const END = 2;
const KEEP = 10_000;

let rows = [];
let filtered = [];
let from = 0;
let selected = null;
let paused = false;
let held = 0;
let query = "";
let direction = "";
let errorsOnly = false;
let stick = true;
let scheduled = false;
let clearedUpTo = 0;

/** Name of a pushed event, read from the start of the body. */
function pushName(body) {
  const text = body ?? "";
  const notice = /"event_type"\s*:\s*"([^"]+)"/.exec(text);
  if (notice) return notice[1];
  const event = /<Event>(?:<!\[CDATA\[)?([^<\]]+)|"Event"\s*:\s*"([^"]+)"/.exec(text);
  if (event) return event[1] ?? event[2];
  const kind = /<MsgType>(?:<!\[CDATA\[)?([^<\]]+)|"MsgType"\s*:\s*"([^"]+)"/.exec(text);
  return kind ? (kind[1] ?? kind[2]) : "";
}

const GOOD = new Set(["silent", "shown", "handed_over", "refused", "ok", "delivered"]);

/** What a row says at a glance: a level, an icon, a word. */
export function verdict(exchange) {
  if (exchange.direction === "out") {
    const check = exchange.why.startsWith("address check: ");
    const word = exchange.verdict || (check ? exchange.why.slice(15).split(":")[0] : exchange.why.split(":")[0]);
    if (check) return word === "ok" ? { level: "ok", mark: "ok", word: t("verdict.check_ok") } : { level: "bad", mark: "bad", word: t("verdict.check_bad") };
    // A forged copy (attempt 0) is rightly refused; a real notice is not.
    if (word === "refused" && exchange.attempt > 0) return { level: "bad", mark: "bad", word: t("verdict.rejected") };
    if (GOOD.has(word)) return { level: "ok", mark: "ok", word: t(`verdict.${word}`) };
    if (word === "not_shown") return { level: "warn", mark: "mute", word: t("verdict.not_shown") };
    if (word === "accepted") return { level: "bad", mark: "warn", word: t("verdict.accepted") };
    if (word === "broken") return { level: "bad", mark: "bad", word: exchange.status ? (exchange.status === 200 ? t("verdict.broken") : String(exchange.status)) : t("verdict.no_answer") };
    return exchange.status >= 200 && exchange.status < 300 ? { level: "ok", mark: "ok", word: word.length <= 14 ? word : String(exchange.status) } : { level: "bad", mark: "bad", word: String(exchange.status || t("verdict.no_answer")) };
  }
  const code = exchange.errcode;
  if (code) return { level: code === -1 || (code >= 45000 && code < 45100) ? "warn" : "bad", mark: code === -1 ? "warn" : "bad", word: String(code) };
  if (exchange.status >= 400) return { level: "bad", mark: "bad", word: String(exchange.status) };
  if (!exchange.status || /reset|hang/.test(exchange.fault ?? "")) return { level: "bad", mark: "bad", word: t("verdict.no_answer") };
  if (exchange.status >= 300) return { level: "ok", mark: "ok", word: String(exchange.status) };
  return { level: "ok", mark: "ok", word: code === 0 ? "ok" : String(exchange.status) };
}

function prepare(exchange) {
  exchange.name = exchange.direction === "out" ? exchange.event || pushName(exchange.request_body) || (exchange.method === "GET" ? "echostr" : "") : "";
  exchange.found = `${exchange.method} ${exchange.path} ${exchange.name} ${exchange.errcode ?? ""} ${exchange.status} ${exchange.why} ${exchange.fault} ${exchange.client} ${exchange.rid} ${exchange.appid} ${exchange.request_body} ${exchange.response_body}`.toLowerCase();
  return exchange;
}

function wanted(exchange) {
  if (exchange.seq <= clearedUpTo) return false;
  if (direction && exchange.direction !== direction) return false;
  if (errorsOnly && verdict(exchange).level === "ok" && !exchange.fault) return false;
  return query === "" || query.split(/\s+/).every((word) => (word.startsWith("!") && word.length > 1 ? !exchange.found.includes(word.slice(1)) : exchange.found.includes(word)));
}

function refilter() {
  filtered = rows.filter(wanted);
  draw();
}

function add(list) {
  const last = rows.length ? rows[rows.length - 1].seq : 0;
  const fresh = list.filter((exchange) => exchange.seq > last).map(prepare);
  if (!fresh.length) return;
  rows.push(...fresh);
  if (paused) held += fresh.length;
  else filtered.push(...fresh.filter(wanted));
  if (rows.length > KEEP) {
    rows = rows.slice(-KEEP);
    const oldest = rows[0].seq;
    if (filtered.length && filtered[0].seq < oldest) filtered = filtered.filter((exchange) => exchange.seq >= oldest);
  }
  draw();
}

function duration(exchange) {
  const ms = exchange.ms ?? (exchange.seconds ? exchange.seconds * 1000 : null);
  if (ms === null || ms === undefined) return "";
  return ms >= 1000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms)} ms`;
}

/** The common beginning of API paths gives way first when there is little room. */
function pathParts(path) {
  const match = /^\/(?:cgi-bin|v3)\//.exec(path);
  return match ? [h("span", { class: "prefix muted", text: match[0] }), path.slice(match[0].length)] : [path];
}

function rowFor(exchange, at) {
  const said = verdict(exchange);
  const out = exchange.direction === "out";
  const row = h(
    "div",
    {
      class: `exchange ${said.level} ${out ? "out" : "in"}`,
      role: "option",
      id: `exchange-${exchange.seq}`,
      "aria-selected": String(exchange.seq === selected),
      "aria-posinset": at + 1,
      "aria-setsize": filtered.length,
      title: exchange.why,
      dataset: { seq: exchange.seq },
    },
    h("span", { class: "at", text: clockText(exchange.at), title: `${dateText(exchange.at)} ${clockText(exchange.at)}` }),
    h("span", { class: "way", title: t(out ? "direction.out" : "direction.in") }, icon(out ? "out" : "in"), h("span", { class: "sr-only", text: t(out ? "direction.out" : "direction.in") })),
    h("span", { class: "method", text: exchange.method }),
    h(
      "span",
      { class: "path" },
      exchange.name ? h("b", { text: exchange.name }) : null,
      exchange.name ? h("span", { class: "muted", text: exchange.path }) : pathParts(exchange.path),
      exchange.attempt > 1 ? h("span", { class: "again", text: `×${exchange.attempt}`, title: t("detail.attempt") }) : null,
    ),
    exchange.fault ? h("span", { class: "fault-badge", title: exchange.fault }, icon("flask"), h("span", { text: exchange.fault.replace(/^#\d+ /, "") })) : null,
    exchange.client ? h("span", { class: "client", text: exchange.client }) : null,
    h("span", { class: "ms mono", text: duration(exchange) }),
    h("span", { class: `verdict ${said.level}` }, icon(said.mark), h("span", { text: said.word })),
  );
  row.style.transform = `translateY(${at * ROW}px)`;
  return row;
}

function draw() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(paint);
}

const drawn = new Map();
let drawnLanguage = "";

function paint() {
  scheduled = false;
  const box = $("#timeline");
  const space = $("#timeline-space");
  space.style.height = `${filtered.length * ROW}px`;
  if (stick && !paused) box.scrollTop = box.scrollHeight;
  from = Math.max(0, Math.floor(box.scrollTop / ROW) - MARGIN);
  const until = Math.min(filtered.length, Math.ceil((box.scrollTop + box.clientHeight) / ROW) + MARGIN);
  if (drawnLanguage !== document.documentElement.lang) {
    drawnLanguage = document.documentElement.lang;
    for (const [, row] of drawn) row.element.remove();
    drawn.clear();
  }
  const kept = new Set();
  for (let at = from; at < until; at += 1) {
    const exchange = filtered[at];
    kept.add(exchange.seq);
    const old = drawn.get(exchange.seq);
    if (old && old.exchange === exchange) {
      if (old.at !== at) {
        old.element.style.transform = `translateY(${at * ROW}px)`;
        old.at = at;
      }
      const chosen = String(exchange.seq === selected);
      if (old.element.getAttribute("aria-selected") !== chosen) old.element.setAttribute("aria-selected", chosen);
      continue;
    }
    old?.element.remove();
    const element = rowFor(exchange, at);
    drawn.set(exchange.seq, { element, exchange, at });
    space.append(element);
  }
  for (const [seq, row] of drawn) {
    if (!kept.has(seq)) {
      row.element.remove();
      drawn.delete(seq);
    }
  }
  if (selected !== null && kept.has(selected)) box.setAttribute("aria-activedescendant", `exchange-${selected}`);
  else box.removeAttribute("aria-activedescendant");
  $("#timeline-count").textContent = filtered.length === rows.length ? t("timeline.count", { n: rows.length }) : t("timeline.count_of", { n: filtered.length, all: rows.length });
  $("#timeline-jump").hidden = stick || !filtered.length;
  $("#timeline-held").hidden = !paused;
  $("#timeline-held").textContent = t("timeline.held", { n: held });
  renderEmpty();
}

function copyLine(text) {
  const button = h("button", { type: "button", class: "quiet small", title: t("copy"), on: { click: () => copyText(text, button, t("copied")) } }, icon("copy"), h("span", { class: "label sr-only", text: t("copy") }));
  return h("div", { class: "copy-line" }, h("code", { text }), button);
}

/** Before anything has happened: what to do first. */
function renderEmpty() {
  const box = $("#timeline-empty");
  const empty = filtered.length === 0;
  box.hidden = !empty;
  if (!empty) return;
  const callback = account()?.callback;
  const key = JSON.stringify([rows.length > 0, store.appid, callback?.enabled, document.documentElement.lang]);
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  if (rows.length) {
    box.replaceChildren(icon("search"), h("h3", { text: t("timeline.nothing") }), h("p", { class: "muted", text: t("timeline.nothing.hint") }));
    return;
  }
  box.replaceChildren(
    h("h3", { text: t("first.title") }),
    h(
      "ol",
      { class: "steps" },
      h("li", {}, h("b", { text: t("first.call") }), copyLine(`WXMP_ENDPOINT=${location.origin}\nWXMP_APPID=${store.appid ?? ""}`), h("p", { class: "muted small", text: t("first.secret") })),
      h("li", {}, h("p", {}, h("b", { text: t("first.push") }), " ", callback?.enabled ? null : h("button", { type: "button", class: "text-link small", text: t("first.push.here"), on: { click: () => emit("show-callback") } })), callback?.enabled ? h("p", { class: "good", text: t("first.push.done", { url: callback.url }) }) : copyLine("wxmp sim --callback http://127.0.0.1:8000/wx")),
      h("li", {}, h("b", { text: t("first.talk") }), h("p", { class: "muted small", text: t("first.talk.hint") })),
    ),
  );
}

// --- choosing ------------------------------------------------------------------------------------------------

function select(at, { open = true } = {}) {
  const exchange = filtered[at];
  if (!exchange) return;
  selected = exchange.seq;
  const box = $("#timeline");
  const top = at * ROW;
  if (top < box.scrollTop) box.scrollTop = top;
  else if (top + ROW > box.scrollTop + box.clientHeight) box.scrollTop = top + ROW - box.clientHeight;
  draw();
  if (open) showDetail(exchange);
}

function keys(event) {
  const at = filtered.findIndex((exchange) => exchange.seq === selected);
  const page = Math.max(1, Math.floor($("#timeline").clientHeight / ROW) - 1);
  const open = !$("#detail").hidden;
  const move = {
    ArrowDown: () => select(at < 0 ? from : Math.min(filtered.length - 1, at + 1), { open }),
    ArrowUp: () => select(at < 0 ? filtered.length - 1 : Math.max(0, at - 1), { open }),
    PageDown: () => select(Math.min(filtered.length - 1, at + page), { open }),
    PageUp: () => select(Math.max(0, at - page), { open }),
    Home: () => select(0, { open }),
    End: () => select(filtered.length - 1, { open }),
    Enter: () => select(at < 0 ? filtered.length - 1 : at),
    Escape: () => closeDetail(),
  }[event.key];
  if (!move) return;
  event.preventDefault();
  event.stopPropagation();
  move();
}

function setPressed(button, pressed) {
  button.setAttribute("aria-pressed", String(pressed));
}

export function startTimeline() {
  const box = $("#timeline");
  box.addEventListener("scroll", () => {
    stick = box.scrollHeight - box.scrollTop - box.clientHeight < END;
    draw();
  }, { passive: true });
  new ResizeObserver(() => draw()).observe(box);
  box.addEventListener("click", (event) => {
    const row = event.target.closest("[data-seq]");
    if (row) select(filtered.findIndex((exchange) => exchange.seq === Number(row.dataset.seq)));
  });
  box.addEventListener("keydown", keys);
  $("#timeline-filter").addEventListener("input", (event) => {
    query = event.target.value.trim().toLowerCase();
    refilter();
  });
  $("#timeline-filter").addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") {
      event.preventDefault();
      box.focus();
      select(Math.max(0, filtered.length - 1), { open: false });
    }
  });
  for (const button of document.querySelectorAll("#timeline-direction [data-direction]")) {
    button.addEventListener("click", () => {
      direction = button.dataset.direction;
      for (const other of document.querySelectorAll("#timeline-direction [data-direction]")) setPressed(other, other === button);
      refilter();
    });
  }
  $("#timeline-errors").addEventListener("click", (event) => {
    errorsOnly = !errorsOnly;
    setPressed(event.currentTarget, errorsOnly);
    refilter();
  });
  $("#timeline-pause").addEventListener("click", (event) => {
    paused = !paused;
    held = 0;
    setPressed(event.currentTarget, paused);
    event.currentTarget.replaceChildren(icon(paused ? "play" : "pause"));
    refilter();
  });
  $("#timeline-clear").addEventListener("click", () => {
    clearedUpTo = rows.length ? rows[rows.length - 1].seq : clearedUpTo;
    rows = [];
    filtered = [];
    selected = null;
    closeDetail();
    draw();
  });
  $("#timeline-jump").addEventListener("click", () => {
    stick = true;
    draw();
  });
  on("journal", (list) => {
    const seqs = list.length ? list[list.length - 1].seq : 0;
    // Numbers that begin again: another world.
    if (seqs < clearedUpTo) clearedUpTo = 0;
    rows = [];
    add(list);
    refilter();
  });
  on("exchanges", add);
  on("reset", () => {
    clearedUpTo = 0;
    rows = [];
    selected = null;
    closeDetail();
    refilter();
  });
  on("select-seq", (seq) => {
    const at = filtered.findIndex((exchange) => exchange.seq === seq);
    if (at >= 0) {
      stick = false;
      select(at);
    } else {
      showDetail({ seq });
    }
    emit("show-tab", "timeline");
  });
  on("state", draw);
  on("language", () => {
    $("#timeline-empty").dataset.key = "";
    draw();
  });
  on("detail-closed", () => {
    if (!box.contains(document.activeElement)) box.focus({ preventScroll: true });
  });
}

