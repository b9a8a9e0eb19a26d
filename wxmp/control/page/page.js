// The status page of the control server. The key is in sessionStorage only: it goes with the tab.
// Nothing here uses innerHTML: text stays text.

const KEY = "wxmp.control.key";
const POLL = 10_000; // milliseconds between two looks, while the page is seen
const POLL_SLOWEST = 60_000;
const PATIENCE = 20_000;
const SOON = 300; // seconds left that are told as "little"

/** key: [English, Chinese] */
const TEXTS = {
  skip: ["Skip to the accounts", "跳到账号列表"],
  title: ["Control server", "中控服务器"],
  lang: ["中文", "English"],
  "lang.code": ["en-GB", "zh-CN"],
  leave: ["Forget the key", "清除密钥"],
  "theme.label": ["Colours: {name}", "配色：{name}"],
  "theme.auto": ["Auto", "自动"],
  "theme.light": ["Light", "浅色"],
  "theme.dark": ["Dark", "深色"],
  footer: ["Times are those of this browser. Days are counted in Beijing, as the platform does.", "时间按本浏览器的时区显示；按北京时间计日，与平台一致。"],

  "key.title": ["Who is asking?", "请输入密钥"],
  "key.hint": ["A key of this server that may see the status. It stays in this tab and is gone when you close it.", "需要一个可查看状态的密钥。它只保存在此标签页中，关闭后即清除。"],
  "key.label": ["Key", "密钥"],
  "key.send": ["Show the status", "查看状态"],
  "key.form": ["That is no key of a control server: it begins with wxck_.", "这不是中控服务器的密钥：密钥以 wxck_ 开头。"],
  "key.unauthorized": ["The server does not know this key.", "服务器不认识此密钥。"],
  "key.forbidden": ["This key may not see the status. Make one with: wxmp control key NAME --appid … --status", "此密钥无权查看状态。可用以下命令创建：wxmp control key NAME --appid … --status"],
  "key.insecure": ["This page came over plain http: change the key you sent.", "此页面通过明文 http 打开：请更换刚才发送的密钥。"],

  "connection.connecting": ["Asking…", "查询中…"],
  "connection.live": ["As of {time}", "更新于 {time}"],
  "connection.lost": ["No answer", "无响应"],
  "lost.network": ["The server does not answer. What you see is from {time}; the page tries again by itself.", "服务器没有响应。以下为 {time} 的数据，页面会自动重试。"],
  "lost.first": ["The server does not answer; the page tries again by itself.", "服务器没有响应，页面会自动重试。"],
  "lost.status": ["The server answered HTTP {status}; the page tries again by itself.", "服务器返回 HTTP {status}，页面会自动重试。"],
  "lost.often": ["Asked too often: the page waits for {seconds} s.", "查询过于频繁：页面将等待 {seconds} 秒。"],

  "sum.usable": ["values usable", "可用的值"],
  "sum.refreshes": ["refreshes today", "今日刷新"],
  "sum.dead": ["died early in 24 h", "24 小时内提前失效"],
  "sum.suspected": ["accounts with a second system", "疑有其他系统的账号"],
  none: ["This key has no account on this server.", "此密钥在本服务器上没有账号。"],

  "kind.access_token": ["access_token", "access_token"],
  "kind.jsapi_ticket": ["jsapi_ticket", "jsapi_ticket"],
  "kind.wx_card_ticket": ["wx_card_ticket", "wx_card_ticket"],
  "store.memory": ["in memory", "存于内存"],
  "store.file": ["in a file", "存于文件"],
  "store.redis": ["in Redis", "存于 Redis"],

  "account.fine": ["All usable", "全部可用"],
  "account.missing": ["Nothing to hand out", "暂无可用值"],
  "account.store": ["Store not reachable", "存储不可达"],
  "alarm.title": ["Another system refreshes this AppID.", "有其他系统在刷新此 AppID。"],
  "alarm.text": ["Values that died in the last 24 hours although nobody here had replaced them: {count}.", "过去 24 小时内有 {count} 个值在此处未更换的情况下失效。"],
  "alarm.last": ["Last noticed {time}: {path} was answered {errcode} ({key}).", "最近一次 {time}：{path} 返回 {errcode}（{key}）。"],
  "alarm.advice": ["Look for a service or a person that fetches tokens with this AppSecret, and let it ask here; or reset the AppSecret.", "请查找使用此 AppSecret 获取 token 的服务或人员，让其改为从此处获取；或重置 AppSecret。"],
  "quota.label": ["Token requests left today", "今日剩余获取次数"],
  "quota.text": ["{left} of {limit} token requests left today", "今日剩余获取次数 {left} / {limit}"],
  "quota.unknown": ["Quota not known yet", "配额未知"],

  "values.caption": ["Values of {appid}", "{appid} 的值"],
  "col.kind": ["Value", "值"],
  "col.state": ["State", "状态"],
  "col.left": ["Left", "剩余"],
  "col.age": ["Age", "已用"],
  "col.generation": ["Generation", "代次"],
  "col.refreshes": ["Refreshes today", "今日刷新"],
  "col.handouts": ["Handed out", "发放次数"],
  "col.error": ["Last error", "最近错误"],
  "state.fine": ["usable", "可用"],
  "state.soon": ["ends soon", "即将到期"],
  "state.none": ["none", "无"],
  "error.none": ["none", "无"],
  "error.wait": ["next try in {time}", "{time} 后重试"],
  "left.meter": ["Part of its life that is left", "剩余寿命比例"],

  "askers.title": ["Who asked", "请求方"],
  "askers.none": ["Nobody yet.", "暂无。"],
  "col.key": ["Key", "密钥名"],
  "col.last": ["Last", "最近"],
  "col.count": ["Times", "次数"],
  "deaths.title": ["Values that died before their time", "提前失效的值"],
  "deaths.none": ["None since this server started.", "本服务器启动以来没有。"],
  "col.when": ["When", "时间"],
  "col.lived": ["Lived, had left", "存活 / 剩余"],
  "col.call": ["Refused call", "被拒的调用"],
  "death.unsaid": ["not said", "未说明"],
  generation: ["generation {number}", "第 {number} 代"],

  "unit.d": ["{a} d {b} h", "{a} 天 {b} 小时"],
  "unit.h": ["{a} h {b} min", "{a} 小时 {b} 分"],
  "unit.m": ["{a} min {b} s", "{a} 分 {b} 秒"],
  "unit.s": ["{a} s", "{a} 秒"],
};

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") element.textContent = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

// ---- language and colours

/** Storage that a browser may refuse. */
function remembered(name) {
  try { return localStorage.getItem(name); } catch { return null; }
}
function remember(name, value) {
  try { localStorage.setItem(name, value); } catch { /* then not */ }
}

let language = remembered("wxmp.control.lang") === "zh" ? "zh"
  : remembered("wxmp.control.lang") === "en" ? "en"
  : navigator.language.startsWith("zh") ? "zh" : "en";

function t(key, values = {}) {
  const text = TEXTS[key]?.[language === "zh" ? 1 : 0] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

const THEMES = ["auto", "light", "dark"];
let theme = THEMES.includes(remembered("wxmp.control.theme")) ? remembered("wxmp.control.theme") : "auto";

function dress() {
  document.documentElement.lang = t("lang.code");
  document.documentElement.dataset.theme = theme;
  document.title = `wxmp · ${t("title")}`;
  for (const element of $$("[data-t]")) element.textContent = t(element.dataset.t);
  $("#theme").textContent = `◐ ${t(`theme.${theme}`)}`;
  $("#theme").setAttribute("aria-label", t("theme.label", { name: t(`theme.${theme}`) }));
  $("#lang").lang = language === "zh" ? "en" : "zh-CN";
}

$("#lang").addEventListener("click", () => {
  language = language === "zh" ? "en" : "zh";
  remember("wxmp.control.lang", language);
  dress();
  say();
  for (const element of $$("[data-appid]")) element.remove();
  show();
});
$("#theme").addEventListener("click", () => {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  remember("wxmp.control.theme", theme);
  dress();
});

// ---- numbers and moments

const number = (value) => new Intl.NumberFormat(t("lang.code")).format(value);

function duration(seconds) {
  const whole = Math.max(Math.round(seconds), 0);
  if (whole >= 86_400) return t("unit.d", { a: Math.floor(whole / 86_400), b: Math.floor((whole % 86_400) / 3600) });
  if (whole >= 3600) return t("unit.h", { a: Math.floor(whole / 3600), b: Math.floor((whole % 3600) / 60) });
  if (whole >= 60) return t("unit.m", { a: Math.floor(whole / 60), b: whole % 60 });
  return t("unit.s", { a: whole });
}

function clock(moment) {
  const date = new Date(moment);
  const today = new Date().toDateString() === date.toDateString();
  const form = today ? { timeStyle: "medium" } : { dateStyle: "medium", timeStyle: "medium" };
  return new Intl.DateTimeFormat(t("lang.code"), form).format(date);
}

const timeOf = (moment) => h("time", { datetime: moment, text: clock(moment) });

// ---- the server

let key = "";
try { key = sessionStorage.getItem(KEY) ?? ""; } catch { /* the key is asked for, then */ }
/** What the server said last, and when that was on the page's own clock. */
let status = null;
let heard = 0;
/** [text key, values] of what is wrong. */
let trouble = null;
let timer = 0;
let pause = POLL;
let asking = null;
let round = 0;

function keep(text) {
  key = text;
  try {
    if (text) sessionStorage.setItem(KEY, text);
    else sessionStorage.removeItem(KEY);
  } catch { /* then it is kept until the page is left */ }
}

function refuse(reason) {
  keep("");
  status = null;
  trouble = null;
  stop();
  show();
  $("#key-form").hidden = false;
  $("#key-error").textContent = reason ? t(reason) : "";
  $("#key-error").dataset.t = reason ?? "";
  if (!reason) delete $("#key-error").dataset.t;
  $("#key").value = "";
  $("#key").focus();
  state("none");
}

function stop() {
  clearTimeout(timer);
  asking?.abort();
  asking = null;
  round += 1;
}

function later(milliseconds) {
  clearTimeout(timer);
  // A page that nobody sees asks for nothing; it asks at once when it is seen again.
  if (!document.hidden) timer = setTimeout(ask, milliseconds);
}

async function ask() {
  stop();
  const mine = round;
  asking = new AbortController();
  const patience = setTimeout((controller) => controller.abort(), PATIENCE, asking);
  if (!status) state("connecting");
  try {
    const answer = await fetch("v1/status", {
      headers: { Authorization: `Bearer ${key}` },
      cache: "no-store", credentials: "omit", referrerPolicy: "no-referrer", redirect: "error", signal: asking.signal,
    });
    const body = await answer.json().catch(() => null);
    if (mine !== round) return;
    take(answer, body);
  } catch {
    if (mine !== round) return;
    lose(status ? ["lost.network", {}] : ["lost.first", {}]);
  } finally {
    clearTimeout(patience);
  }
}

function take(answer, body) {
  if (answer.status === 401) return refuse("key.unauthorized");
  if (answer.status === 403) return refuse(body?.error === "insecure" ? "key.insecure" : "key.forbidden");
  if (answer.status === 429) {
    const wait = Math.max(Number(body?.retry_after) || 5, 1);
    return lose(["lost.often", { seconds: Math.ceil(wait) }], wait * 1000);
  }
  if (!answer.ok || !Array.isArray(body?.values)) return lose(["lost.status", { status: answer.status }]);
  status = body;
  heard = performance.now();
  trouble = null;
  pause = POLL;
  $("#key-form").hidden = true;
  state("live");
  show();
  return later(pause);
}

function lose(what, wait = 0) {
  trouble = what;
  state("lost");
  say();
  pause = Math.min(pause * 1.5, POLL_SLOWEST);
  later(Math.max(wait, pause));
}

function state(name) {
  const element = $("#connection");
  element.dataset.state = name;
  element.hidden = name === "none";
  $("#leave").hidden = name === "none";
  say();
}

/** Say how the connection is. */
function say() {
  const time = status ? clock(status.now) : "";
  const name = $("#connection").dataset.state;
  $("#connection .label").textContent = name === "none" ? "" : t(`connection.${name}`, { time });
  const text = trouble ? t(trouble[0], { ...trouble[1], time }) : "";
  if ($("#notice").textContent !== text) $("#notice").textContent = text;
}

$("#key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("#key").value.trim();
  if (!/^wxck_[0-9a-f]{12}_[\w-]{43}$/.test(text)) {
    $("#key-error").dataset.t = "key.form";
    $("#key-error").textContent = t("key.form");
    return;
  }
  $("#key").value = "";
  $("#key-error").textContent = "";
  delete $("#key-error").dataset.t;
  keep(text);
  ask();
});
$("#leave").addEventListener("click", () => refuse());
document.addEventListener("visibilitychange", () => {
  if (!key) return;
  if (document.hidden) stop();
  else ask();
});
// A page from the browser's memory of pages must not show what another person left there.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

// ---- what is seen

const HEADS = {
  values: ["kind", "state", "left", "age", "generation", "refreshes", "handouts", "error"],
  askers: ["key", "kind", "last", "count"],
  deaths: ["when", "kind", "lived", "call", "key"],
};
const NUMBERS = new Set(["generation", "refreshes", "handouts", "count"]);

/** A table that stays one for a reader where it looks like a list. */
function table(name, caption, rows) {
  return h("table", { class: `${name}${name === "askers" ? "" : " stack"}`, role: "table" },
    h("caption", { text: caption }),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, HEADS[name].map((head) =>
      h("th", { scope: "col", role: "columnheader", class: NUMBERS.has(head) ? "number" : null, text: t(`col.${head}`) })))),
    h("tbody", { role: "rowgroup" }, rows));
}

const cell = (field, ...children) => h("td", {
  role: "cell", "data-field": field, "data-label": t(`col.${field}`), class: NUMBERS.has(field) ? "number" : null,
}, children);

const plain = (text, className = null) => h("span", { text, class: className });

function byAccount(values) {
  const found = new Map();
  for (const value of values) {
    if (!found.has(value.appid)) found.set(value.appid, []);
    found.get(value.appid).push(value);
  }
  return found;
}

function show() {
  const accounts = $("#accounts");
  $("#summary").hidden = !status;
  if (!status) {
    accounts.replaceChildren();
    $("#summary").replaceChildren();
    return;
  }
  const found = byAccount(status.values);
  summarise(found);
  if (found.size === 0) {
    accounts.replaceChildren(h("p", { class: "card", text: t("none") }));
    return;
  }
  const sections = [...found].map(([appid, values]) => {
    // What moves with the time is written by tick(): a section is made anew only when something has happened.
    const still = JSON.stringify(values, (name, value) =>
      ["age", "seconds_left", "cool_down"].includes(name) && typeof value === "number" ? null : value);
    const old = $$("[data-appid]", accounts).find((element) => element.dataset.appid === appid);
    if (old && old.dataset.still === still) return old;
    const made = section(appid, values);
    made.dataset.still = still;
    return made;
  });
  const shown = [...accounts.children];
  if (shown.length !== sections.length || sections.some((element, at) => element !== shown[at])) {
    accounts.replaceChildren(...sections);
  }
  tick();
}

function summarise(found) {
  const values = status.values;
  const early = values.reduce((sum, value) => sum + value.another_system.early_deaths_24h, 0);
  const suspected = [...found.values()].filter((group) => group.some((value) => value.another_system.suspected)).length;
  const usable = values.filter((value) => value.usable).length;
  const figures = [
    ["usable", `${number(usable)} / ${number(values.length)}`, usable < values.length],
    ["refreshes", number(values.reduce((sum, value) => sum + value.refreshes_today, 0)), false],
    ["dead", number(early), early > 0],
    ["suspected", number(suspected), suspected > 0],
  ];
  $("#summary").replaceChildren(...figures.map(([name, figure, bad]) => h("div", { class: bad ? "bad" : null },
    h("dt", { text: t(`sum.${name}`) }), h("dd", { "data-figure": name, text: figure }))));
}

function section(appid, values) {
  const missing = values.some((value) => !value.usable);
  const broken = values.some((value) => !value.store_up);
  const [word, look] = missing ? ["account.missing", "bad"] : broken ? ["account.store", "warn"] : ["account.fine", ""];
  const token = values.find((value) => value.kind === "access_token");
  const stores = [...new Set(values.map((value) => value.store))];
  return h("section", { class: "account card", "data-appid": appid, "aria-label": appid },
    h("header", {},
      h("h2", { text: appid }),
      h("span", { class: `pill ${look}`, text: t(word) }),
      plain(stores.map((store) => (TEXTS[`store.${store}`] ? t(`store.${store}`) : store)).join(", "), "muted"),
      quota(token)),
    alarm(values),
    table("values", t("values.caption", { appid }), values.map(valueRow)),
    h("div", { class: "lists" }, askers(values), deaths(values)));
}

function quota(token) {
  if (!token) return null;
  if (!token.quota) return h("p", { class: "quota", "data-quota": true, text: t("quota.unknown") });
  const { daily_limit: limit, left } = token.quota;
  return h("p", { class: "quota", "data-quota": true },
    h("meter", { min: 0, max: Math.max(limit, 1), low: limit * 0.25, high: limit * 0.5, optimum: limit, value: left, "aria-label": t("quota.label") }),
    plain(t("quota.text", { left: number(left), limit: number(limit) })));
}

function alarm(values) {
  const suspects = values.filter((value) => value.another_system.suspected);
  if (suspects.length === 0) return null;
  const count = suspects.reduce((sum, value) => sum + value.another_system.early_deaths_24h, 0);
  const [last] = suspects.flatMap((value) => value.deaths).sort((a, b) => (a.at < b.at ? 1 : -1));
  return h("div", { class: "alarm", "data-alarm": true },
    h("strong", { text: t("alarm.title") }), " ",
    plain(t("alarm.text", { count: number(count) })), " ",
    last ? plain(t("alarm.last", {
      time: clock(last.at), path: last.path || t("death.unsaid"), errcode: last.errcode || t("death.unsaid"), key: last.key,
    })) : null, " ",
    plain(t("alarm.advice")));
}

function valueRow(value) {
  return h("tr", { role: "row", "data-kind": value.kind },
    h("th", { scope: "row", role: "rowheader", class: "mono", text: t(`kind.${value.kind}`) }),
    cell("state", h("span", { class: "pill" })),
    cell("left", h("span", { class: "left-text" }), h("meter", { min: 0, max: 1, low: 0.02, high: 0.04, optimum: 1, "aria-label": t("left.meter") })),
    cell("age", h("span", { class: "age-text" })),
    cell("generation", plain(value.generation ? String(value.generation) : "–")),
    cell("refreshes", plain(number(value.refreshes_today))),
    cell("handouts", plain(number(value.hand_outs))),
    cell("error", h("span", { class: value.last_error ? "bad-text" : "muted", text: value.last_error || t("error.none") }), h("span", { class: "sub cool-down" })));
}

function askers(values) {
  const rows = values.flatMap((value) => value.asked_by.map((asker) => ({ ...asker, kind: value.kind })))
    .sort((a, b) => ((a.last ?? "") < (b.last ?? "") ? 1 : -1));
  if (rows.length === 0) return empty("askers");
  return h("div", { class: "scroll", tabindex: rows.length > 8 ? 0 : null, role: "group", "aria-label": t("askers.title") },
    table("askers", t("askers.title"), rows.map((asker) => h("tr", { role: "row" },
      h("th", { scope: "row", role: "rowheader", text: asker.key }),
      cell("kind", plain(asker.kind, "mono")),
      cell("last", asker.last ? timeOf(asker.last) : null),
      cell("count", plain(number(asker.count)))))));
}

function deaths(values) {
  const rows = values.flatMap((value) => value.deaths.map((death) => ({ ...death, kind: value.kind })))
    .sort((a, b) => (a.at < b.at ? 1 : -1));
  if (rows.length === 0) return empty("deaths");
  return h("div", { class: "scroll", tabindex: rows.length > 4 ? 0 : null, role: "group", "aria-label": t("deaths.title") },
    table("deaths", t("deaths.title"), rows.map((death) => h("tr", { role: "row" },
      h("th", { scope: "row", role: "rowheader" }, timeOf(death.at)),
      cell("kind", plain(death.kind, "mono"), plain(t("generation", { number: death.generation }), "sub")),
      cell("lived", plain(`${duration(death.age)}, ${duration(death.left)}`)),
      cell("call", plain(death.path || t("death.unsaid"), "mono"), death.errcode ? plain(String(death.errcode), "sub") : null),
      cell("key", plain(death.key))))));
}

const empty = (name) => h("div", {}, h("h3", { text: t(`${name}.title`) }), h("p", { class: "muted", text: t(`${name}.none`) }));

/** Move the clocks on, without asking. */
function tick() {
  if (!status) return;
  const passed = (performance.now() - heard) / 1000;
  for (const value of status.values) {
    const row = $$("[data-appid]").find((element) => element.dataset.appid === value.appid)?.querySelector(`tr[data-kind="${value.kind}"]`);
    if (!row) continue;
    const there = value.generation > 0;
    const left = Math.max(value.seconds_left - passed, 0);
    const soon = value.usable && left < Math.min(SOON, (value.age + value.seconds_left) / 20);
    const name = !value.usable || left === 0 ? "none" : soon ? "soon" : "fine";
    const pill = $('[data-field="state"] .pill', row);
    write(pill, t(`state.${name}`));
    pill.className = `pill ${{ none: "bad", soon: "warn", fine: "" }[name]}`;
    write($(".left-text", row), there ? duration(left) : "–");
    write($(".age-text", row), there ? duration(value.age + passed) : "–");
    const meter = $("meter", row);
    meter.hidden = !there;
    meter.value = there ? left / Math.max(value.age + value.seconds_left, 1) : 0;
    const cool = value.cool_down - passed;
    write($(".cool-down", row), cool > 0 ? t("error.wait", { time: duration(cool) }) : "");
  }
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

setInterval(() => { if (!document.hidden) tick(); }, 1000);
dress();
if (key) ask();
else refuse();
