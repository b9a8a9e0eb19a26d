// The chat: one renderer per kind of line. Payloads come from the platform's own names: pushes and passive replies say
// `PicUrl`, customer-service messages say `picurl`; both end up in the same card.

import { act, mediaUrl } from "./api.js";
import { isLoopback, openUrl, resolve } from "./browser.js";
import { openSheet } from "./dialog.js";
import { $, avatar, h, icon, webAddress } from "./dom.js";
import { t } from "./i18n.js";
import { accountName } from "./store.js";
import { clockText, dateText, now } from "./time.js";

const GAP = 300;

let shown = { openid: null, language: "", keys: [] };

/** The first of several spellings that is there. */
function first(source, ...names) {
  for (const name of names) {
    const value = source?.[name];
    if (value !== undefined && value !== null && value !== "") return value;
  }
  return undefined;
}

const listOf = (value) => (Array.isArray(value) ? value : value === undefined || value === null ? [] : [value]);
const objectOf = (value) => (value && typeof value === "object" && !Array.isArray(value) ? value : {});

/** The part of a payload that holds its content: `payload[msgtype]`, `payload.Image`, or the payload itself. */
function part(entry) {
  const payload = objectOf(entry.payload);
  const kind = entry.kind;
  const inner = payload[kind] ?? payload[kind.charAt(0).toUpperCase() + kind.slice(1)];
  return inner && typeof inner === "object" && !Array.isArray(inner) ? inner : payload;
}

// --- text with links -----------------------------------------------------------------------------------------

const ANCHOR = /<a\s+([^>]*)>([\s\S]*?)<\/a\s*>/gi;
const ATTRIBUTE = /([\w-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))/g;
const PLAIN_URL = /https?:\/\/[^\s<>"'，。；！？（）【】]+/g;

function attributes(text) {
  const found = {};
  for (const match of text.matchAll(ATTRIBUTE)) found[match[1].toLowerCase()] = match[2] ?? match[3] ?? match[4] ?? "";
  return found;
}

const decode = (text) => text.replace(/&(amp|lt|gt|quot|#39);/g, (_all, name) => ({ amp: "&", lt: "<", gt: ">", quot: '"', "#39": "'" })[name]);

function linkButton(label, onTap, title) {
  return h("button", { type: "button", class: "text-link", title, text: label, on: { click: onTap } });
}

function menuLine(content, id) {
  return linkButton(content.label, () => act("say", { text: content.text, menu_line: id }).catch(() => {}), t("menu_line", { id }));
}

function anchor(attributeText, label) {
  const found = attributes(attributeText);
  const href = decode(found.href ?? "");
  const text = decode(label.replace(/<[^>]*>/g, ""));
  if (/^weixin:\/\/bizmsgmenu\?/i.test(href)) {
    const query = new URLSearchParams(href.slice(href.indexOf("?") + 1));
    return menuLine({ label: text, text: query.get("msgmenucontent") ?? text }, query.get("msgmenuid") ?? "");
  }
  if (found["data-miniprogram-appid"]) {
    return linkButton(text, () => showMiniprogram({ title: text, appid: found["data-miniprogram-appid"], pagepath: found["data-miniprogram-path"] ?? "" }), found["data-miniprogram-path"]);
  }
  if (webAddress(href)) return linkButton(text, () => openUrl(href, "chat"), href);
  return document.createTextNode(text);
}

function plain(text) {
  const parts = [];
  let at = 0;
  for (const match of text.matchAll(PLAIN_URL)) {
    parts.push(text.slice(at, match.index));
    parts.push(linkButton(match[0], () => openUrl(match[0], "chat"), match[0]));
    at = match.index + match[0].length;
  }
  parts.push(text.slice(at));
  return parts.filter((piece) => piece !== "");
}

export function richText(text) {
  const value = String(text ?? "");
  const parts = [];
  let at = 0;
  for (const match of value.matchAll(ANCHOR)) {
    parts.push(...plain(value.slice(at, match.index)));
    parts.push(anchor(match[1], match[2]));
    at = match.index + match[0].length;
  }
  parts.push(...plain(value.slice(at)));
  return parts;
}

// --- media ---------------------------------------------------------------------------------------------------

/** A picture from a list of sources; when none can be read, a quiet placeholder. */
function picture(sources, className, alt) {
  const wanted = sources.filter(Boolean);
  const box = h("span", { class: `picture ${className}` });
  const placeholder = () => box.replaceChildren(icon("image"), h("span", { class: "sr-only", text: alt }));
  const next = () => {
    const source = wanted.shift();
    if (!source) {
      box.classList.add("missing");
      placeholder();
      return;
    }
    const image = h("img", { src: source, alt, loading: "lazy", decoding: "async", referrerpolicy: "no-referrer" });
    image.addEventListener("error", next);
    image.addEventListener("load", () => keepAtEnd());
    box.replaceChildren(image);
  };
  next();
  return box;
}

/** Only pictures of this machine are asked for: the page works offline and tells nobody what it shows. */
function pictureSource(address) {
  const resolved = address ? resolve(address) : null;
  return resolved && isLoopback(new URL(resolved)) ? resolved : null;
}

const voices = new Map();

/** Seconds of a voice, counted in its AMR frames; other formats tell the audio element. */
async function voiceSeconds(mediaId) {
  if (!voices.has(mediaId)) {
    voices.set(
      mediaId,
      fetch(mediaUrl(mediaId)).then(async (answer) => {
        if (!answer.ok) return null;
        const bytes = new Uint8Array(await answer.arrayBuffer());
        if (String.fromCharCode(...bytes.subarray(0, 6)) !== "#!AMR\n") return null;
        const sizes = [12, 13, 15, 17, 19, 20, 26, 31, 5];
        let frames = 0;
        for (let at = 6; at < bytes.length; frames += 1) at += 1 + (sizes[(bytes[at] >> 3) & 15] ?? 0);
        return frames * 0.02;
      }).catch(() => null),
    );
  }
  return voices.get(mediaId);
}

function voice(entry) {
  const source = part(entry);
  const mediaId = first(source, "MediaId", "media_id");
  const label = h("span", { class: "mono", text: "″" });
  const bar = h("button", { type: "button", class: "voice", "aria-label": t("voice.play") }, icon("wave"), label);
  const show = (seconds) => {
    const whole = Math.max(1, Math.round(seconds));
    label.textContent = `${whole}″`;
    bar.style.setProperty("--seconds", String(Math.min(60, whole)));
  };
  if (mediaId) voiceSeconds(mediaId).then((seconds) => { if (seconds) show(seconds); });
  bar.addEventListener("click", () => {
    bar.classList.remove("playing");
    void bar.offsetWidth;
    bar.classList.add("playing");
    if (!mediaId) return;
    const audio = new Audio(mediaUrl(mediaId));
    audio.addEventListener("loadedmetadata", () => { if (Number.isFinite(audio.duration)) show(audio.duration); });
    audio.play().catch(() => {});
  });
  const heard = first(objectOf(entry.payload), "Recognition");
  return heard ? h("div", { class: "stack tight" }, bar, h("p", { class: "heard", text: heard })) : bar;
}

function video(entry) {
  const source = part(entry);
  const mediaId = first(source, "MediaId", "media_id");
  const title = first(source, "Title", "title");
  const box = h("div", { class: "video" });
  const cover = h("button", { type: "button", class: "video-cover", "aria-label": t("video.play") }, icon("play"));
  cover.addEventListener("click", () => {
    if (!mediaId) return;
    const player = h("video", { src: mediaUrl(mediaId), controls: true, playsinline: true });
    player.addEventListener("error", () => player.replaceWith(h("span", { class: "video-cover" }, h("small", { text: t("video.none") }))));
    cover.replaceWith(player);
    player.play().catch(() => {});
  });
  box.append(cover);
  if (title) box.append(h("p", { class: "card-title", text: title }));
  const description = first(source, "Description", "description");
  if (description) box.append(h("p", { class: "card-text", text: description }));
  return box;
}

// --- cards ---------------------------------------------------------------------------------------------------

function card(className, onTap, ...children) {
  if (!onTap) return h("div", { class: `card ${className}` }, ...children);
  return h("button", { type: "button", class: `card ${className}`, on: { click: onTap } }, ...children);
}

function opener(address) {
  return address && webAddress(address) ? () => openUrl(address, "chat") : null;
}

/** A small drawn map: it shows that there is one, not where. */
function miniMap() {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 240 96");
  svg.setAttribute("class", "map");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("preserveAspectRatio", "xMidYMid slice");
  for (const [className, d] of [
    ["water", "M0 70 C40 52 70 96 120 78 S200 60 240 80 V96 H0Z"],
    ["street", "M-5 30 H245 M-5 58 L245 40 M40 -5 V101 M104 -5 L92 101 M170 -5 V101 M215 -5 L205 101"],
    ["alley", "M0 14 H240 M66 0 V60 M136 0 V96 M190 0 V96"],
    ["mark", "M120 62 c-9-9-12-13-12-19 a12 12 0 0 1 24 0 c0 6-3 10-12 19z"],
  ]) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", d);
    path.setAttribute("class", className);
    svg.append(path);
  }
  return svg;
}

function place(entry) {
  const payload = objectOf(entry.payload);
  const label = first(payload, "Label", "label") ?? t("location");
  return card("place", null, h("p", { class: "card-title", text: label }), h("p", { class: "card-text mono", text: `${payload.Location_X ?? "?"}, ${payload.Location_Y ?? "?"}` }), miniMap());
}

function link(entry) {
  const source = part(entry);
  const address = first(source, "Url", "url");
  return card(
    "link",
    opener(address),
    h("p", { class: "card-title", text: first(source, "Title", "title") ?? address ?? "" }),
    h("span", { class: "link-row" }, h("span", { class: "card-text", text: first(source, "Description", "description") ?? address ?? "" }), h("span", { class: "thumb" }, icon("link"))),
  );
}

function music(entry) {
  const source = part(entry);
  const address = first(source, "MusicUrl", "MusicURL", "musicurl", "HQMusicUrl", "hqmusicurl");
  return card(
    "music",
    opener(address),
    h("span", { class: "grow" }, h("p", { class: "card-title", text: first(source, "Title", "title") ?? t("music") }), h("p", { class: "card-text", text: first(source, "Description", "description") ?? "" })),
    h("span", { class: "thumb" }, picture([thumb(source)], "cover", ""), icon("play")),
  );
}

const thumb = (source) => {
  const mediaId = first(source, "ThumbMediaId", "thumb_media_id");
  return mediaId ? mediaUrl(mediaId) : null;
};

function articlesOf(entry) {
  const source = part(entry);
  let list = first(source, "articles", "Articles", "news_item") ?? first(objectOf(entry.payload), "articles", "Articles");
  if (list && !Array.isArray(list)) list = list.item ?? list.news_item ?? list;
  return listOf(list).map(objectOf);
}

function news(entry) {
  const articles = articlesOf(entry);
  if (!articles.length) return articleStub(entry);
  const sourcesOf = (article) => {
    const mediaId = first(article, "thumb_media_id", "ThumbMediaId");
    return [pictureSource(first(article, "PicUrl", "picurl", "pic_url", "thumb_url")), mediaId && mediaUrl(mediaId)];
  };
  const addressOf = (article) => first(article, "Url", "url", "content_url", "article_url");
  const [top, ...rest] = articles;
  const lone = rest.length === 0;
  return h(
    "div",
    { class: "card news" },
    h(
      "button",
      { type: "button", class: "news-top", on: { click: () => openArticle(addressOf(top)) } },
      picture(sourcesOf(top), "wide", ""),
      h("span", { class: lone ? "news-title below" : "news-title", text: first(top, "Title", "title") ?? "" }),
    ),
    lone && first(top, "Description", "description", "digest") ? h("p", { class: "card-text padded", text: first(top, "Description", "description", "digest") }) : null,
    rest.map((article) =>
      h("button", { type: "button", class: "news-row", on: { click: () => openArticle(addressOf(article)) } }, h("span", { class: "grow", text: first(article, "Title", "title") ?? "" }), picture(sourcesOf(article), "square", "")),
    ),
  );
}

function openArticle(address) {
  if (address && webAddress(address)) openUrl(address, "chat");
  else openSheet(t("article"), h("p", { class: "muted", text: t("article.no_url") }));
}

function articleStub(entry) {
  const source = part(entry);
  const id = first(source, "article_id", "media_id", "MediaId") ?? "";
  const address = first(source, "url", "Url");
  return card("link", opener(address), h("p", { class: "card-title", text: first(source, "title", "Title") ?? t("article") }), h("span", { class: "link-row" }, h("span", { class: "card-text mono", text: id }), h("span", { class: "thumb" }, icon("list"))));
}

const COLOUR = /^#(?:[0-9a-f]{3}|[0-9a-f]{6})$/i;

function coloured(element, colour) {
  if (typeof colour === "string" && COLOUR.test(colour)) {
    element.classList.add("coloured");
    element.style.setProperty("--colour", colour);
  }
  return element;
}

/** Fields of a template card: with the template's own text the captions are known, without it only the names are. */
function templateFields(entry) {
  const payload = objectOf(entry.payload);
  const data = objectOf(payload.data);
  const content = first(payload, "template_content", "_template", "content");
  const valueOf = (name) => {
    const value = data[name];
    return value && typeof value === "object" ? value : { value };
  };
  if (typeof content === "string" && content.includes(".DATA")) {
    return content.split("\n").filter((line) => line.trim()).map((line) => {
      const match = /\{\{\s*([A-Za-z0-9_]+)\.DATA\s*\}\}/.exec(line);
      if (!match) return h("p", { class: "template-line", text: line });
      const caption = line.slice(0, match.index).replace(/[:：]\s*$/, "");
      const field = valueOf(match[1]);
      return fieldLine(caption, String(field.value ?? ""), field.color);
    });
  }
  return Object.keys(data).map((name) => {
    const field = valueOf(name);
    const loose = /^(first|remark)$/i.test(name);
    return fieldLine(loose ? "" : name, String(field.value ?? ""), field.color);
  });
}

function fieldLine(caption, value, colour) {
  if (!caption) return coloured(h("p", { class: "template-line", text: value }), colour);
  return h("div", { class: "template-field" }, h("span", { class: "caption", text: caption }), coloured(h("span", { class: "value", text: value }), colour));
}

function template(entry) {
  const payload = objectOf(entry.payload);
  const program = objectOf(payload.miniprogram);
  const page = first(payload, "page");
  const address = first(payload, "url");
  const title = entry.content || t(entry.kind === "subscribe" ? "subscribe_notice" : "template_message");
  let tap = null;
  let foot;
  if (program.appid || (entry.kind === "subscribe" && page)) {
    tap = () => showMiniprogram({ title, appid: program.appid ?? payload.miniprogram_appid ?? "", pagepath: program.pagepath ?? page ?? "" });
    foot = h("span", { class: "template-foot" }, icon("apps"), h("span", { class: "grow", text: t("template.miniprogram") }), icon("chevron"));
  } else if (address) {
    tap = opener(address);
    foot = h("span", { class: "template-foot" }, h("span", { class: "grow", text: t("template.details") }), icon("chevron"));
  } else {
    foot = h("span", { class: "template-foot none" }, h("span", { class: "grow", text: t("template.no_url") }));
  }
  return card("template", tap, h("p", { class: "template-title", text: title }), h("span", { class: "template-time", text: dateText(entry.at) }), h("div", { class: "template-fields" }, templateFields(entry)), foot);
}

export function showMiniprogram({ title, appid, pagepath }) {
  openSheet(
    t("miniprogram"),
    h("div", { class: "program" }, avatar(title || appid, "large"), h("h4", { text: title || t("miniprogram") }), h("dl", { class: "pairs" }, h("dt", { text: "appid" }), h("dd", { class: "mono", text: appid || "–" }), h("dt", { text: "pagepath" }), h("dd", { class: "mono", text: pagepath || "–" })), h("p", { class: "muted", text: t("miniprogram.note") })),
  );
}

function miniprogram(entry) {
  const source = part(entry);
  const about = { title: first(source, "title", "Title") ?? "", appid: first(source, "appid", "AppId") ?? "", pagepath: first(source, "pagepath", "PagePath") ?? "" };
  return card("program-card", () => showMiniprogram(about), h("span", { class: "program-head" }, icon("apps"), h("span", { text: about.appid })), h("p", { class: "card-title", text: about.title }), picture([thumb(source)], "wide", ""), h("span", { class: "card-foot" }, icon("apps"), t("miniprogram")));
}

function menuMessage(entry) {
  const source = part(entry);
  return h(
    "div",
    { class: "stack tight" },
    source.head_content ? h("p", {}, ...richText(source.head_content)) : null,
    h("ul", { class: "menu-lines" }, listOf(source.list).map((line) => h("li", {}, menuLine({ label: String(line?.content ?? ""), text: String(line?.content ?? "") }, String(line?.id ?? ""))))),
    source.tail_content ? h("p", {}, ...richText(source.tail_content)) : null,
  );
}

export function money(fen) {
  const number = Number(fen);
  return Number.isFinite(number) ? `¥${(number / 100).toLocaleString("en", { minimumFractionDigits: 2 })}` : "¥–";
}

const AMOUNT = /\s*[¥￥]\s*([\d.,]+)/;

/** The platform's own words without the amount, which stands below in large figures. */
function voucherTitle(entry) {
  const title = String(entry.content ?? "").replace(AMOUNT, "");
  return title && !/^\d+$/.test(title) ? title : t("pay.voucher");
}

/** What this line is about: of a partial refund that is less than the order's total. */
function voucherAmount(entry, total) {
  const said = AMOUNT.exec(String(entry.content ?? ""));
  return said ? money(Math.round(Number(said[1].replaceAll(",", "")) * 100)) : money(total);
}

function payment(entry) {
  const payload = objectOf(entry.payload);
  const total = first(payload, "total_fen", "total", "total_fee") ?? objectOf(payload.amount).total;
  const rows = [
    [t("pay.for"), first(payload, "description", "body")],
    [t("pay.merchant"), first(payload, "mchid", "mch_id")],
    ["out_trade_no", first(payload, "out_trade_no")],
    ["transaction_id", first(payload, "transaction_id")],
    ["out_bill_no", first(payload, "out_bill_no")],
  ].filter(([, value]) => value !== undefined);
  return h(
    "div",
    { class: "card voucher" },
    h("p", { class: "template-title", text: voucherTitle(entry) }),
    total === undefined ? null : h("p", { class: "amount", text: voucherAmount(entry, total) }),
    h("div", { class: "template-fields" }, rows.map(([name, value]) => fieldLine(name, String(value)))),
  );
}

function text(entry) {
  const payload = objectOf(entry.payload);
  const content = entry.content || first(payload, "Content") || first(objectOf(payload.text), "content") || "";
  return h("p", { class: "text", dir: "auto" }, ...richText(content));
}

function raw(entry) {
  return h("details", { class: "raw" }, h("summary", { text: entry.kind }), h("pre", { text: JSON.stringify(entry.payload, null, 2) }));
}

const BODIES = {
  text,
  image: (entry) => {
    const source = part(entry);
    const mediaId = first(source, "MediaId", "media_id");
    const sources = [mediaId && mediaUrl(mediaId), pictureSource(first(objectOf(entry.payload), "PicUrl"))];
    return h("button", { type: "button", class: "photo-button", "aria-label": t("image"), on: { click: () => openSheet(t("image"), picture(sources, "full", t("image")), mediaId ? h("code", { class: "muted small", text: mediaId }) : null) } }, picture(sources, "photo", t("image")));
  },
  voice,
  video,
  shortvideo: video,
  mpvideo: video,
  location: place,
  link,
  music,
  news,
  mpnews: news,
  mpnewsarticle: articleStub,
  msgmenu: menuMessage,
  template,
  subscribe: template,
  miniprogrampage: miniprogram,
  wxcard: (entry) => card("link", null, h("p", { class: "card-title", text: t("coupon") }), h("p", { class: "card-text mono", text: String(first(part(entry), "card_id") ?? "") })),
  pay: payment,
};

// --- lines ---------------------------------------------------------------------------------------------------

/** Host and path of an address; the timeline has the rest. */
function shortAddress(text) {
  const url = webAddress(text);
  return url ? `${url.host}${url.pathname === "/" ? "" : url.pathname}${url.search ? "?…" : ""}` : text;
}

/** Things that happened without a bubble: one grey line with what it was. */
function eventText(entry) {
  const payload = objectOf(entry.payload);
  const key = String(payload.EventKey ?? "");
  const scene = key.replace(/^qrscene_/, "");
  switch (entry.kind) {
    case "subscribe": return key ? t("event.subscribe.scan", { scene }) : t("event.subscribe");
    case "unsubscribe": return t("event.unsubscribe");
    case "SCAN": return t("event.scan", { scene: key });
    case "CLICK": return t("event.click", { key });
    case "VIEW": return t("event.view", { key: shortAddress(key) });
    case "view_miniprogram": return t("event.miniprogram", { key });
    case "LOCATION": return t("event.location", { place: `${payload.Latitude}, ${payload.Longitude}` });
    case "scancode_push":
    case "scancode_waitmsg": return t("event.scancode", { key, result: String(objectOf(payload.ScanCodeInfo).ScanResult ?? "") });
    case "pic_sysphoto":
    case "pic_photo_or_album":
    case "pic_weixin": return t("event.pictures", { key, count: String(objectOf(payload.SendPicsInfo).Count ?? 1) });
    case "location_select": return t("event.location_select", { key });
    case "subscribe_msg_popup_event":
    case "subscribe_msg_change_event": {
      const answers = listOf(Object.values(payload).map((value) => objectOf(value).List).find(Array.isArray)).map((item) => objectOf(item).SubscribeStatusString);
      return t(`event.${entry.kind}`, { accepted: answers.filter((answer) => answer === "accept").length, rejected: answers.filter((answer) => answer === "reject").length });
    }
    case "transfer_customer_service":
    case "transfer_biz_ai_ivr": return t("event.handed_over");
    default: return null;
  }
}

const SOURCES = new Set(["reply", "custom", "template", "subscribe", "mass", "pay"]);

function line(entry, person) {
  const mine = entry.direction === "from_user";
  const grey = (name, className, ...children) => h("li", { class: `line grey ${className}`, dataset: { kind: entry.kind, source: entry.source } }, icon(name), h("span", {}, ...children));
  if (entry.kind === "notice") {
    return grey("warn", "trouble", h("b", { text: entry.content }), entry.note ? h("span", { class: "reason", text: entry.note }) : null);
  }
  const isEvent = entry.payload?.MsgType === "event" || entry.kind === "event";
  const said = eventText(entry);
  if (said !== null && (isEvent || !BODIES[entry.kind])) {
    return grey(entry.kind === "unsubscribe" ? "mute" : "bolt", "event", said, entry.note && entry.source === "system" ? h("span", { class: "reason", text: entry.note }) : null);
  }
  if (isEvent) return grey("bolt", "event", `${entry.kind} ${entry.payload?.EventKey ?? ""}`.trim());
  const render = BODIES[entry.source === "mass" && entry.kind === "mass" ? String(entry.payload?.msgtype ?? "text") : entry.kind] ?? (entry.source === "system" ? null : raw);
  if (!render) return grey("info", "event", entry.content || entry.kind, entry.note ? h("span", { class: "reason", text: entry.note }) : null);
  let content;
  try {
    content = render(entry);
  } catch (error) {
    console.error("chat line", error);
    content = raw(entry);
  }
  const bare = ["image", "news", "mpnews", "template", "subscribe", "pay", "location", "link", "music", "miniprogrampage", "mpnewsarticle", "video", "shortvideo", "mpvideo", "wxcard"].includes(entry.kind) && content.tagName !== "P";
  const wide = ["template", "subscribe", "pay"].includes(entry.kind);
  return h(
    "li",
    { class: `line ${mine ? "mine" : "theirs"} ${wide ? "wide" : ""}`, dataset: { kind: entry.kind, source: entry.source } },
    wide ? null : mine ? avatar(person) : avatar(accountName(), "account"),
    h(
      "div",
      { class: "said" },
      h("div", { class: bare ? "bubble bare" : "bubble" }, content),
      SOURCES.has(entry.source) || entry.note
        ? h("span", { class: "source", title: entry.note || "" }, SOURCES.has(entry.source) ? t(`source.${entry.source}`) : "", entry.note && mine ? ` ${entry.note}` : "")
        : null,
    ),
  );
}

function stamp(at) {
  const today = dateText(now()) === dateText(at);
  return h("li", { class: "stamp" }, h("time", { datetime: new Date(at * 1000).toISOString(), text: today ? clockText(at).slice(0, 5) : `${dateText(at)} ${clockText(at).slice(0, 5)}` }));
}

function keepAtEnd(force = false) {
  const scroller = $("#chat-scroll");
  if (force || scroller.dataset.end !== "false") scroller.scrollTop = scroller.scrollHeight;
}

/** Draw the chat; only what is new is added, so that nothing already read moves. */
export function renderChat(phone) {
  const list = $("#chat");
  const language = document.documentElement.lang;
  if (!phone) {
    list.replaceChildren();
    shown = { openid: null, language, keys: [] };
    return;
  }
  const chat = phone.chat ?? [];
  const keys = chat.map((entry, at) => `${entry.index ?? at}|${entry.at}|${entry.kind}|${entry.note ?? ""}`);
  const same = shown.openid === phone.openid && shown.language === language;
  let from = 0;
  if (same && shown.keys.length <= keys.length && shown.keys.every((key, at) => key === keys[at])) from = shown.keys.length;
  if (from === 0) list.replaceChildren();
  const news = chat.slice(from);
  const fragment = document.createDocumentFragment();
  news.forEach((entry, at) => {
    const before = chat[from + at - 1];
    if (!before || entry.at - before.at > GAP) fragment.append(stamp(entry.at));
    const item = line(entry, phone.name);
    // Only what arrives moves: a chat that is opened, or drawn in another language, stands still.
    if (from > 0) item.classList.add("fresh");
    fragment.append(item);
  });
  if (chat.length === 0) {
    fragment.append(
      h("li", { class: "line welcome" }, avatar(accountName(), "account large"), h("b", { text: accountName() }), h("p", { text: phone.following ? t("welcome.follower") : t("welcome.stranger") })),
    );
  } else {
    list.querySelector(".welcome")?.remove();
  }
  list.append(fragment);
  if (same && from > 0) announce(news);
  shown = { openid: phone.openid, language, keys };
  keepAtEnd(from === 0);
}

/** Tell screen readers of new messages in one short sentence. */
function announce(entries) {
  const heard = entries.filter((entry) => entry.direction === "to_user");
  if (!heard.length) return;
  const last = heard[heard.length - 1];
  $("#announcer").textContent = t("announce", { name: accountName(), text: last.content || t(`source.${SOURCES.has(last.source) ? last.source : "reply"}`) });
}

export function startChat() {
  const scroller = $("#chat-scroll");
  let height = 0;
  scroller.addEventListener("scroll", () => {
    // A view that is put away or resized scrolls too: only the reader's own scrolling leaves the end.
    if (scroller.clientHeight === 0 || scroller.clientHeight !== height) return;
    scroller.dataset.end = String(scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60);
  });
  new ResizeObserver(() => {
    height = scroller.clientHeight;
    if (height > 0) keepAtEnd();
  }).observe(scroller);
}

