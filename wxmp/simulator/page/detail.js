// One exchange in full: what was asked, what was answered, and why.

import { get } from "./api.js";
import { $, copyText, h, icon, iconButton } from "./dom.js";
import { t } from "./i18n.js";
import { emit, on } from "./store.js";
import { clockText, dateText } from "./time.js";
import { verdict } from "./timeline.js";

const LONG = 60_000;

let current = null;

/** Indent JSON and XML; everything else stays as it is. */
export function pretty(text) {
  const value = String(text ?? "");
  const trimmed = value.trim();
  if (/^[{[]/.test(trimmed)) {
    try {
      return JSON.stringify(JSON.parse(trimmed), null, 2);
    } catch {
      return value;
    }
  }
  if (trimmed.startsWith("<xml")) {
    let depth = 0;
    return trimmed
      .replace(/(?<!\]\])>\s*<(?!!\[CDATA\[)/g, ">\n<")
      .split("\n")
      .map((line) => {
        const closes = /^<\//.test(line);
        if (closes) depth = Math.max(0, depth - 1);
        const indented = "  ".repeat(depth) + line;
        if (/^<[^/!?][^>]*[^/]?>$/.test(line) && !/<\//.test(line)) depth += 1;
        return indented;
      })
      .join("\n");
  }
  return value;
}

const TOKENS = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|(-?\b\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\b)|(<\/?[A-Za-z_][\w.-]*>?)|(<!\[CDATA\[|\]\]>)/g;

/** Colour without markup: spans made one by one. Very long bodies stay plain. */
function coloured(text) {
  const shown = text.length > LONG ? `${text.slice(0, LONG)}…` : text;
  if (text.length > 20_000) return [shown];
  const parts = [];
  let at = 0;
  for (const match of shown.matchAll(TOKENS)) {
    if (match.index > at) parts.push(shown.slice(at, match.index));
    const [whole, string, colon, word, number, tag, cdata] = match;
    if (string !== undefined) {
      parts.push(h("span", { class: colon ? "s-key" : "s-text", text: string }));
      if (colon) parts.push(colon);
    } else if (word !== undefined) parts.push(h("span", { class: "s-word", text: word }));
    else if (number !== undefined) parts.push(h("span", { class: "s-number", text: number }));
    else if (tag !== undefined) parts.push(h("span", { class: "s-key", text: tag }));
    else if (cdata !== undefined) parts.push(h("span", { class: "s-quiet", text: cdata }));
    at = match.index + whole.length;
  }
  parts.push(shown.slice(at));
  return parts;
}

function block(title, text, note = "") {
  const body = String(text ?? "");
  const shown = pretty(body);
  const copy = h("button", { type: "button", class: "quiet small", on: { click: () => copyText(shown, copy, t("copied")) } }, icon("copy"), h("span", { class: "label", text: t("copy") }));
  return h(
    "section",
    { class: "block" },
    h("header", {}, h("h3", { text: title }), note ? h("span", { class: "muted small", text: note }) : null, body ? copy : null),
    body ? h("pre", { tabindex: "0" }, ...coloured(shown)) : h("p", { class: "muted small", text: t("detail.empty") }),
  );
}

function quote(text) {
  return `'${String(text).replace(/'/g, `'\\''`)}'`;
}

/** The request as a command. Secrets are fingerprints here: the token has to be put in again. */
export function asCurl(exchange) {
  if (exchange.curl) return exchange.curl;
  const query = { ...exchange.query };
  for (const [name, value] of Object.entries(query)) {
    if (String(value).startsWith("***")) query[name] = `$${name.toUpperCase()}`;
  }
  const text = Object.entries(query)
    .map(([name, value]) => `${encodeURIComponent(name)}=${/^\$[A-Z_]+$/.test(value) ? value : encodeURIComponent(value)}`)
    .join("&");
  const prefix = exchange.host && exchange.host !== "api" ? `/${exchange.host}` : "";
  const address = exchange.direction === "out" ? `$CALLBACK${exchange.path}` : `${location.origin}${prefix}${exchange.path}`;
  const parts = [`curl -sS${exchange.method === "GET" ? "" : ` -X ${exchange.method}`} "${address}${text ? `?${text}` : ""}"`];
  if (exchange.request_body) {
    const json = /^\s*[{[]/.test(exchange.request_body);
    parts.push(`-H 'content-type: ${json ? "application/json" : "text/xml"}'`, `--data-binary ${quote(exchange.request_body)}`);
  }
  return parts.join(" \\\n  ");
}

function pair(name, value, className = "") {
  if (value === undefined || value === null || value === "") return [];
  return [h("dt", { text: name }), h("dd", { class: className, text: String(value) })];
}

/** The reason without the verdict or code it begins with: that stands before it already. */
function reason(exchange) {
  const why = exchange.why ?? "";
  const head = exchange.direction === "out" ? /^(?:[a-z_]+|address check): / : /^-?\d+: /;
  const rest = why.replace(head, "");
  // The line below names the fault.
  if (exchange.fault && rest.startsWith("fault ")) return "";
  return rest && rest !== verdict(exchange).word ? ` ${rest}` : "";
}

const KNOWN = new Set(["seq", "at", "method", "path", "query", "client", "client_ip", "appid", "status", "errcode", "why", "rid", "fault", "processed", "request_body", "response_body", "direction", "attempt", "mode", "seconds", "ms", "cut", "name", "found", "curl", "event", "verdict", "request_raw", "response_raw", "request_cut", "response_cut", "quota_used", "quota_limit", "rule", "caller", "speed", "host", "content_type", "response_type"]);

function render(exchange) {
  const out = exchange.direction === "out";
  const said = verdict(exchange);
  const query = Object.entries(exchange.query ?? {});
  const curl = h("button", { type: "button", class: "quiet small", id: "detail-curl", on: { click: () => copyText(asCurl(exchange), curl, t("copied")) } }, icon("copy"), h("span", { class: "label", text: t("detail.curl") }));
  const seconds = exchange.ms ?? (exchange.seconds ? exchange.seconds * 1000 : "");
  // Whatever the journal adds later (rule, quota, clock …) is shown under its own name.
  const more = Object.entries(exchange).filter(([name, value]) => !KNOWN.has(name) && value !== "" && value !== null && value !== undefined && !(Array.isArray(value) && !value.length));
  const cutIn = exchange.request_cut ? t("detail.cut") : "";
  const cutOut = exchange.response_cut ? t("detail.cut") : "";
  return [
    h(
      "header",
      { class: "detail-head" },
      h("span", { class: `way ${out ? "out" : "in"}`, title: t(out ? "direction.out" : "direction.in") }, icon(out ? "out" : "in")),
      h("div", { class: "grow" }, h("h2", {}, h("span", { class: "method", text: exchange.method }), " ", exchange.name ? h("b", { text: `${exchange.name} ` }) : null, h("span", { class: "mono", text: exchange.path })), h("span", { class: "muted small", text: t(out ? "direction.out.long" : "direction.in.long") })),
      curl,
      iconButton("close", t("close"), closeDetail, { id: "detail-close" }),
    ),
    h(
      "div",
      { class: "detail-body" },
      h("p", { class: `why ${said.level}` }, icon(said.mark), h("span", {}, h("b", { text: said.word }), reason(exchange))),
      exchange.fault ? h("p", { class: "why fault" }, icon("flask"), h("span", {}, h("b", { text: t("detail.fault") }), ` ${exchange.fault}`, exchange.processed ? ` · ${t("detail.processed")}` : ` · ${t("detail.not_processed")}`)) : null,
      out ? null : queryBlock(query),
      exchange.request_body || out ? block(t(exchange.request_raw ? "detail.request.plain" : "detail.request"), exchange.request_body, cutIn) : null,
      block(t(exchange.response_raw ? "detail.response.plain" : "detail.response"), exchange.response_body, cutOut),
      h(
        "dl",
        { class: "facts" },
        fact("HTTP", exchange.status || t("verdict.no_answer")),
        fact("errcode", exchange.errcode),
        fact(t("detail.time"), `${dateText(exchange.at)} ${clockText(exchange.at)}`),
        fact(t("detail.took"), seconds === "" ? "" : `${Math.round(seconds)} ms`),
        fact(t("detail.attempt"), out && exchange.attempt ? exchange.attempt : ""),
        fact(t("detail.mode"), exchange.mode ? t(`mode.${exchange.mode}`) : ""),
        fact(t("detail.client"), out ? "" : [exchange.client, exchange.client_ip].filter(Boolean).join(" · ")),
        fact(t("detail.quota"), exchange.quota_used ? `${exchange.quota_used[0]} → ${exchange.quota_used[1]} / ${exchange.quota_limit ?? "∞"}` : ""),
        fact(t("detail.clock"), exchange.speed === undefined || exchange.speed === 1 ? "" : exchange.speed === 0 ? t("clock.frozen") : t("clock.times", { speed: exchange.speed })),
        fact(t("detail.rule"), exchange.rule, "mono"),
        fact("AppID", exchange.appid, "mono"),
        fact("rid", exchange.rid, "mono"),
        more.filter(([, value]) => typeof value !== "object").map(([name, value]) => fact(name, value)),
      ),
      out ? queryBlock(query) : null,
      folded(t("detail.request.raw"), exchange.request_raw),
      folded(t("detail.response.raw"), exchange.response_raw),
      more.filter(([, value]) => typeof value === "object").map(([name, value]) => block(name, JSON.stringify(value))),
    ),
  ];
}

/** What was asked for: of a call the first thing to look at, of a push only the signature. */
function queryBlock(query) {
  if (!query.length) return null;
  return h("section", { class: "block" }, h("header", {}, h("h3", { text: t("detail.query") })), h("dl", { class: "pairs mono" }, query.map(([name, value]) => pair(name, value))));
}

function fact(name, value, className = "") {
  if (value === undefined || value === null || value === "") return null;
  return h("div", {}, h("dt", { text: name }), h("dd", { class: className, text: String(value) }));
}

/** The encrypted form: there when wanted, out of the way otherwise. */
function folded(title, text) {
  if (!text) return null;
  return h("details", { class: "block" }, h("summary", { text: title }), h("pre", { tabindex: "0", text: pretty(text) }));
}

export async function showDetail(exchange) {
  current = exchange.seq;
  const pane = $("#detail");
  pane.hidden = false;
  $("#timeline-area").classList.add("with-detail");
  if (exchange.method) pane.replaceChildren(...render(exchange));
  try {
    const answer = await get(`journal/${exchange.seq}`, {}, { quiet: true });
    if (current !== exchange.seq) return;
    const full = { name: exchange.name, ...(answer.exchange ?? answer) };
    const { scrollTop } = pane.querySelector(".detail-body") ?? {};
    pane.replaceChildren(...render(full));
    if (scrollTop) pane.querySelector(".detail-body").scrollTop = scrollTop;
  } catch (error) {
    if (current === exchange.seq && !exchange.method) {
      pane.replaceChildren(h("header", { class: "detail-head" }, h("div", { class: "grow" }, h("h2", { text: `#${exchange.seq}` })), iconButton("close", t("close"), closeDetail, { id: "detail-close" })), h("p", { class: "muted padded", text: error.message }));
    }
  }
}

export function closeDetail() {
  const pane = $("#detail");
  if (pane.hidden) return;
  const inside = pane.contains(document.activeElement);
  pane.hidden = true;
  pane.replaceChildren();
  current = null;
  $("#timeline-area").classList.remove("with-detail");
  if (inside) emit("detail-closed");
}

export function startDetail() {
  $("#detail").addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      closeDetail();
    }
  });
  on("language", closeDetail);
}
