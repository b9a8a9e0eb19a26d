// The world as a whole: the account's server, findings, merchants, reset and snapshots.

import { get, post, toast } from "./api.js";
import { money } from "./chat.js";
import { $, copyText, fill, h, icon, throttle } from "./dom.js";
import { language, t } from "./i18n.js";
import { account, emit, on, store } from "./store.js";

// --- findings ------------------------------------------------------------------------------------------------

const LEVELS = { error: { mark: "bad", level: "bad" }, warning: { mark: "warn", level: "warn" }, hint: { mark: "bulb", level: "hint" } };

const say = (text) => (typeof text === "string" ? text : (text?.[language()] ?? text?.en ?? ""));

function findingRow(finding) {
  const { mark, level } = LEVELS[finding.level] ?? LEVELS.hint;
  return h(
    "li",
    { class: `finding ${level}`, dataset: { code: `${finding.code} ${finding.subject ?? ""}`.trim() } },
    h(
      "details",
      {},
      h("summary", {}, h("span", { class: `mark ${level}`, title: t(`lint.${finding.level}`) }, icon(mark), h("span", { class: "sr-only", text: t(`lint.${finding.level}`) })), h("span", { class: "grow" }, say(finding.title) || finding.code, finding.subject ? h("small", { class: "subject mono muted", text: String(finding.subject) }) : null), finding.count > 1 ? h("span", { class: "hits mono", text: `×${finding.count}` }) : null),
      h("p", { text: say(finding.detail) }),
      finding.remedy ? h("p", { class: "remedy" }, icon("bulb"), h("span", { text: say(finding.remedy) })) : null,
      finding.seq ? h("button", { type: "button", class: "quiet small", on: { click: () => emit("select-seq", finding.seq) } }, icon("list"), h("span", { text: t("lint.show", { seq: finding.seq }) })) : null,
    ),
  );
}

function renderLint() {
  const open = new Set([...document.querySelectorAll("#lint details[open]")].map((item) => item.closest("[data-code]")?.dataset.code));
  const changed = fill(
    $("#lint"),
    store.lint.length ? store.lint.map(findingRow) : [h("li", { class: "none good" }, icon("ok"), h("span", { text: t("lint.none") }))],
    JSON.stringify([store.lint, document.documentElement.lang]),
  );
  if (changed) for (const item of document.querySelectorAll("#lint [data-code]")) if (open.has(item.dataset.code)) item.firstChild.open = true;
  const errors = store.lint.filter((finding) => finding.level === "error").length;
  $("#lint-count").textContent = store.lint.length ? String(store.lint.length) : "";
  const badge = $("#bar-lint");
  badge.hidden = !store.lint.length;
  badge.dataset.n = String(store.lint.length);
  badge.setAttribute("aria-label", t("lint.count", { n: store.lint.length }));
  badge.dataset.level = errors ? "bad" : "warn";
  badge.querySelector(".label").textContent = t("lint.count", { n: store.lint.length });
}

async function loadLint() {
  try {
    store.lint = (await get("lint", {}, { quiet: true })).findings ?? [];
  } catch {
    store.lint = [];
  }
  renderLint();
}

const soonLint = throttle(500, loadLint);

// --- merchants -----------------------------------------------------------------------------------------------

/** What is shown of a merchant: numbers and names. Keys stay where they are, however made-up. */
const SHOWN = ["mchid", "name", "appids", "serial", "public_key_id", "certificates", "orders", "refunds", "balance"];

function merchantValue(name, value) {
  if (name === "balance") return money(value);
  if (Array.isArray(value)) return value.map((item) => item?.serial ?? item).join(", ");
  return String(value);
}

function merchantCard(merchant) {
  const rows = SHOWN.filter((name) => merchant[name] !== undefined && merchant[name] !== "" && merchant[name]?.length !== 0);
  return h(
    "li",
    { class: "merchant" },
    h("dl", { class: "pairs" }, rows.map((name) => [h("dt", { text: t(`merchants.${name}`) }), h("dd", { class: "mono", text: merchantValue(name, merchant[name]) })])),
    h("button", { type: "button", class: "quiet small", on: { click: () => rotate(merchant.mchid) } }, icon("refresh"), h("span", { text: t("merchants.rotate") })),
  );
}

async function rotate(mchid) {
  try {
    await post(`merchants/${encodeURIComponent(mchid)}/rotate`);
    toast(t("merchants.rotated"));
    loadMerchants();
  } catch {
    // The toast has said it.
  }
}

async function loadMerchants() {
  try {
    // Only what is shown is kept: the answer holds the made-up keys too.
    const found = (await get("merchants", {}, { quiet: true })).merchants ?? [];
    store.merchants = found.map((merchant) => Object.fromEntries(SHOWN.map((name) => [name, merchant[name]])));
  } catch {
    store.merchants = [];
  }
  fill(
    $("#merchants"),
    store.merchants.length ? store.merchants.map(merchantCard) : [h("li", { class: "none", text: t("merchants.none") })],
    JSON.stringify([store.merchants, document.documentElement.lang]),
  );
  $("#merchants-keys").hidden = !store.merchants.length;
}

const soonMerchants = throttle(3000, loadMerchants);

// --- mass sends ----------------------------------------------------------------------------------------------

async function decideBroadcast(id, decision) {
  await post(`broadcasts/${id}/${decision}?appid=${encodeURIComponent(store.appid)}`).catch(() => {});
  loadBroadcasts();
}

function broadcastRow(broadcast) {
  const waiting = broadcast.state === "approval";
  return h(
    "li",
    { class: "rule", dataset: { broadcast: broadcast.msg_id } },
    h("span", { class: "grow" }, h("b", { text: broadcast.text || broadcast.kind }), h("span", { class: "muted small", text: ` ${t(`broadcasts.${broadcast.state}`)} · ${broadcast.sent}/${broadcast.total}` })),
    waiting && h("button", { type: "button", class: "primary small", text: t("broadcasts.approve"), on: { click: () => decideBroadcast(broadcast.msg_id, "approve") } }),
    waiting && h("button", { type: "button", class: "quiet small", text: t("broadcasts.refuse"), on: { click: () => decideBroadcast(broadcast.msg_id, "refuse") } }),
  );
}

async function loadBroadcasts() {
  let found = [];
  try {
    const answer = await get("broadcasts", { appid: store.appid }, { quiet: true });
    found = answer.broadcasts ?? [];
    $("#broadcasts-protected").checked = Boolean(answer.protected);
  } catch {
    // The next change tries again.
  }
  const shown = found.slice(0, 20);
  fill(
    $("#broadcasts"),
    shown.length ? shown.map(broadcastRow) : [h("li", { class: "none", text: t("broadcasts.none") })],
    JSON.stringify([shown, document.documentElement.lang]),
  );
}

const soonBroadcasts = throttle(1500, () => { if (store.appid) loadBroadcasts(); });

// --- the developer's server ----------------------------------------------------------------------------------

function renderCallback() {
  const callback = account()?.callback;
  const box = $("#callback");
  const last = callback?.last_verdict;
  const said = typeof last === "string" ? last : last ? `${last.name ? `${last.name}: ` : ""}${last.why || last.verdict}` : "";
  const bad = typeof last === "object" && last?.verdict === "broken";
  fill(
    box,
    callback?.enabled
      ? [
          h("p", { class: "row wrap" }, h("span", { class: "dot on" }), h("code", { class: "grow", text: callback.url ?? "" }), h("span", { class: "chip", text: t(`mode.${callback.mode}`) }), h("span", { class: "chip", text: callback.format })),
          said ? h("p", { class: bad ? "small bad-text" : "small muted", text: `${t("callback.last")} ${said}` }) : null,
          h("button", { type: "button", class: "quiet small", on: { click: () => post("callback", { appid: store.appid, url: null }).catch(() => {}) } }, icon("pause"), h("span", { text: t("callback.stop") })),
        ]
      : [h("p", { class: "row wrap" }, h("span", { class: "dot" }), h("span", { class: "muted", text: t("callback.none") }))],
    JSON.stringify([callback?.enabled, callback?.url, callback?.mode, callback?.format, said, document.documentElement.lang]),
  );
  $("#callback-form").hidden = Boolean(callback?.enabled);
}

async function setCallback(event) {
  event.preventDefault();
  const form = event.currentTarget;
  const key = form.elements.key.value.trim();
  const body = { appid: store.appid, url: form.elements.url.value.trim(), token: form.elements.token.value.trim(), mode: form.elements.mode.value };
  if (key) body.encoding_aes_key = key;
  try {
    await post("callback", body);
    form.reset();
    toast(t("callback.ok"));
  } catch {
    // The toast has said what is wrong with it.
  }
}

// --- the whole world -----------------------------------------------------------------------------------------

async function saveSnapshot() {
  try {
    const snapshot = await get("snapshot");
    const address = URL.createObjectURL(new Blob([JSON.stringify(snapshot)], { type: "application/json" }));
    const link = h("a", { href: address, download: `wxmp-world-${new Date().toISOString().slice(0, 19).replace(/:/g, "")}.json` });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  } catch {
    // The toast has said it.
  }
}

function loadSnapshot(event) {
  const file = event.target.files?.[0];
  event.target.value = "";
  if (!file) return;
  file
    .text()
    .then((text) => post("restore", text))
    .then(() => toast(t("world.restored")))
    .catch(() => {});
}

let armed = 0;

function reset() {
  const button = $("#world-reset");
  const label = button.querySelector(".label");
  if (!armed) {
    // A second click within a few seconds: nothing asks in a window of its own.
    label.textContent = t("world.reset.sure");
    button.classList.add("armed");
    armed = setTimeout(disarm, 4000);
    return;
  }
  disarm();
  post("reset", {})
    .then(() => toast(t("world.reset.done")))
    .catch(() => {});
}

function disarm() {
  clearTimeout(armed);
  armed = 0;
  const button = $("#world-reset");
  button.classList.remove("armed");
  button.querySelector(".label").textContent = t("world.reset");
}

let seenBroadcasts = "";

export function startWorld() {
  $("#world-reset").addEventListener("click", reset);
  $("#world-save").addEventListener("click", saveSnapshot);
  $("#world-load").addEventListener("change", loadSnapshot);
  $("#callback-form").addEventListener("submit", setCallback);
  $("#copy-endpoint").addEventListener("click", (event) => copyText(`WXMP_ENDPOINT=${location.origin}`, event.currentTarget, t("copied")));
  $("#broadcasts-protected").addEventListener("change", (event) => post("broadcasts", { appid: store.appid, protected: event.target.checked }).catch(() => {}));
  $("#merchant-add").addEventListener("click", () => post("merchants", { appid: store.appid }).then(loadMerchants).catch(() => {}));
  on("lint-read", soonLint);
  on("state", () => {
    renderCallback();
    if ((account()?.merchants ?? []).some((mchid) => !store.merchants.some((merchant) => merchant.mchid === mchid))) soonMerchants();
    const calls = Object.entries(store.state?.calls ?? {}).filter(([path]) => path.includes("/message/mass/")).map(([, count]) => count);
    const key = JSON.stringify([store.appid, calls, store.state?.accounts?.[store.appid]?.sent]);
    if (key !== seenBroadcasts) {
      seenBroadcasts = key;
      soonBroadcasts();
    }
  });
  on("reload", () => {
    loadLint();
    loadMerchants();
  });
  on("reset", () => {
    loadLint();
    loadMerchants();
  });
  on("language", () => {
    disarm();
    renderLint();
    renderCallback();
    loadMerchants();
    if (store.appid) loadBroadcasts();
  });
  on("show-callback", () => {
    emit("show-tab", "tools");
    const address = $("#callback-form").elements.url;
    address.scrollIntoView({ block: "center" });
    address.focus({ preventScroll: true });
  });
}
