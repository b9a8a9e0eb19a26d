// Faults: the common ones as switches, all others by a form, and the rules in force with their hits.

import { del, get, post, toast } from "./api.js";
import { $, fill, h, icon, iconButton, throttle } from "./dom.js";
import { language, t } from "./i18n.js";
import { on, store } from "./store.js";

/** One click each. What a switch has set up is recognised by its effect and fields, whoever added the rule. */
const SWITCHES = [
  { name: "busy", rule: { effect: "busy" } },
  { name: "quota", rule: { effect: "quota" } },
  { name: "minute", rule: { effect: "minute" } },
  { name: "bad_gateway", rule: { effect: "status", status: 502 } },
  { name: "reset_after", rule: { effect: "reset_after" } },
  { name: "hang", rule: { effect: "hang" } },
  { name: "slow", rule: { effect: "latency", seconds: 3 } },
  { name: "not_json", rule: { effect: "not_json" } },
  { name: "token_killed", rule: { effect: "token_killed", every: 5 } },
  { name: "push_twice", rule: { effect: "push_twice" } },
  { name: "push_reordered", rule: { effect: "push_reordered" } },
  { name: "push_late", rule: { effect: "push_late" } },
  { name: "push_lost_answer", rule: { effect: "push_lost_answer" } },
  { name: "push_wrong_signature", rule: { effect: "push_wrong_signature" } },
  { name: "push_replayed", rule: { effect: "push_replayed" } },
  { name: "pay_forged", rule: { effect: "pay_forged" } },
  { name: "pay_twice", rule: { effect: "pay_twice" } },
];

const NUMBERS = new Set(["first", "nth", "every", "probability", "since", "until", "times", "errcode", "status", "seconds", "jitter", "size"]);
const MOMENTS = ["times", "nth", "every", "probability"];
const WHO = ["path", "method", "appid", "client", "openid", "event", "host", "mchid", "body_contains", "direction", "between", "since", "until", "first", ...MOMENTS];
const DEFAULTS = { method: "*", path: "*", appid: "*", client: "*", openid: "*", event: "*", host: "*", mchid: "*", direction: "*", body_contains: "", between: "" };

const enabled = (fault) => fault.enabled !== false;
/** A rule that has struck as often as it may does nothing any more. */
const striking = (fault) => enabled(fault) && !(fault.times && fault.hits >= fault.times);

function ruleOf(wish) {
  return store.faults.find(
    (fault) =>
      fault.effect === wish.effect &&
      Object.entries(wish).every(([name, value]) => fault[name] === value) &&
      Object.entries(DEFAULTS).every(([name, value]) => name in wish || fault[name] === undefined || fault[name] === value) &&
      ["first", "nth", "every", "probability", "times"].every((name) => name in wish || fault[name] === undefined || fault[name] === null),
  );
}

export async function loadFaults() {
  try {
    const { faults, effects } = await get("faults", {}, { quiet: true });
    store.faults = faults;
    if (effects) store.effects = effects;
    render();
  } catch {
    // The connection badge tells.
  }
}

const soon = throttle(600, loadFaults);

const known = (effect) => !store.effects.length || store.effects.some((item) => item.name === effect);

async function toggle(item) {
  const rule = ruleOf(item.rule);
  try {
    if (!rule) await post("faults", item.rule);
    else if (!enabled(rule)) await post(`faults/${rule.id}`, { enabled: true });
    else await del("faults", { id: rule.id });
  } catch {
    // The toast has said it.
  }
  await loadFaults();
}

function switchFor(item) {
  const rule = ruleOf(item.rule);
  const active = Boolean(rule) && enabled(rule);
  return h(
    "button",
    { type: "button", class: "switch", role: "switch", "aria-checked": String(active), dataset: { faultSwitch: item.name }, title: effectText(item.rule.effect), on: { click: () => toggle(item) } },
    h("span", { class: "knob", "aria-hidden": "true" }),
    h("span", { class: "grow", text: t(`switch.${item.name}`) }),
    active ? h("span", { class: "hits mono", text: String(rule.hits) }) : null,
  );
}

function effectText(name) {
  const effect = store.effects.find((item) => item.name === name);
  const said = effect?.[language()] ?? effect?.title?.[language()] ?? effect?.text?.[language()];
  return said ? `${name}: ${said}` : name;
}

function details(fault) {
  const parts = [];
  if (fault.path && fault.path !== "*") parts.push(fault.path);
  for (const [name, value] of Object.entries(fault)) {
    if (["id", "label", "effect", "enabled", "seen", "hits", "path", "processed", "kind"].includes(name)) continue;
    if (value === null || value === "" || value === "*" || value === 0 || value === false) continue;
    if (name === "status" && !["status", "redirect"].includes(fault.effect)) continue;
    if (name === "content_type" && fault.effect !== "content_type") continue;
    parts.push(`${name}=${value}`);
  }
  return parts.join(" · ");
}

function ruleRow(fault) {
  const flip = h("input", {
    type: "checkbox",
    checked: enabled(fault),
    "aria-label": t("faults.enabled", { id: fault.id }),
    on: {
      change: async (event) => {
        try {
          await post(`faults/${fault.id}`, { enabled: event.target.checked });
        } catch {
          // The toast has said it; the list shows how it is.
        }
        await loadFaults();
      },
    },
  });
  return h(
    "li",
    { class: striking(fault) ? "rule" : "rule off", dataset: { fault: fault.id } },
    flip,
    h("span", { class: "grow" }, h("b", { text: `#${fault.id} ${fault.effect}` }), h("span", { class: "muted small mono", text: ` ${details(fault)}` })),
    h("span", { class: "hits mono", title: t("faults.hits.title", { seen: fault.seen ?? 0 }), text: t("faults.hits", { n: fault.hits ?? 0 }) }),
    iconButton("close", t("faults.remove", { id: fault.id }), async () => {
      await del("faults", { id: fault.id }).catch(() => {});
      await loadFaults();
    }),
  );
}

// --- the form ------------------------------------------------------------------------------------------------

const ownFields = (effect) => effect?.own ?? (effect?.fields ?? []).filter((name) => !WHO.includes(name));

function renderFields() {
  const effect = store.effects.find((item) => item.name === $("#fault-effect").value);
  const names = [...ownFields(effect).filter((name) => name !== "processed"), ...(effect?.kind === "push" ? ["event"] : []), ...MOMENTS];
  const old = Object.fromEntries([...$("#fault-fields").querySelectorAll("input")].map((input) => [input.name, input.value]));
  fill(
    $("#fault-fields"),
    names.map((name) =>
      h(
        "label",
        { class: "field small-field" },
        h("span", { text: t(`field.${name}`) }),
        h("input", { name, id: `fault-${name}`, type: NUMBERS.has(name) ? "number" : "text", step: "any", value: old[name] ?? "", placeholder: t(`field.${name}.hint`) }),
      ),
    ),
    JSON.stringify([effect?.name, names, document.documentElement.lang]),
  );
  $("#fault-about").textContent = effect ? (effect[language()] ?? effect.title?.[language()] ?? "") : "";
}

function renderEffects() {
  const select = $("#fault-effect");
  const key = JSON.stringify([store.effects.map((effect) => effect.name), document.documentElement.lang]);
  if (select.dataset.key === key) return;
  select.dataset.key = key;
  const chosen = select.value;
  const kinds = [...new Set(store.effects.map((effect) => effect.kind))];
  select.replaceChildren(
    ...kinds.map((kind) =>
      h("optgroup", { label: t(`faults.kind.${kind}`) }, store.effects.filter((effect) => effect.kind === kind).map((effect) => h("option", { value: effect.name, text: effect.name }))),
    ),
  );
  if (store.effects.some((effect) => effect.name === chosen)) select.value = chosen;
  renderFields();
}

async function addRule(event) {
  event.preventDefault();
  const form = $("#fault-form");
  const rule = { effect: $("#fault-effect").value };
  const path = $("#fault-path").value.trim();
  if (path) rule.path = path;
  for (const input of form.querySelectorAll("#fault-fields input")) {
    const value = input.value.trim();
    if (value === "") continue;
    rule[input.name] = NUMBERS.has(input.name) ? Number(value) : value;
  }
  try {
    await post("faults", rule);
    toast(t("faults.added", { effect: rule.effect }));
    for (const input of form.querySelectorAll("#fault-fields input")) input.value = "";
  } catch {
    // The toast has said what is wrong with it.
  }
  await loadFaults();
}

function render() {
  renderEffects();
  const items = SWITCHES.filter((item) => known(item.rule.effect));
  fill($("#fault-switches"), items.map(switchFor), JSON.stringify([store.faults, store.effects.length, document.documentElement.lang]));
  fill(
    $("#fault-list"),
    store.faults.length ? store.faults.map(ruleRow) : [h("li", { class: "none", text: t("faults.none") })],
    JSON.stringify([store.faults, document.documentElement.lang]),
  );
  const active = store.faults.filter(striking).length;
  $("#faults-count").textContent = active ? t("faults.count", { n: active }) : "";
  $("#faults-clear").hidden = !store.faults.length;
  const badge = $("#bar-faults");
  badge.hidden = active === 0;
  badge.dataset.n = String(active);
  badge.setAttribute("aria-label", t("faults.active", { n: active }));
  badge.querySelector(".label").textContent = t("faults.active", { n: active });
}

export function startFaults() {
  $("#fault-form").addEventListener("submit", addRule);
  $("#fault-effect").addEventListener("change", renderFields);
  $("#faults-clear").addEventListener("click", async () => {
    await del("faults").catch(() => {});
    await loadFaults();
  });
  $("#bar-faults").prepend(icon("flask"));
  const paths = new Set();
  on("exchanges", (list) => {
    let grown = false;
    for (const exchange of list) {
      if (exchange.direction !== "out" && paths.size < 200 && !paths.has(exchange.path)) {
        paths.add(exchange.path);
        grown = true;
      }
    }
    if (grown) $("#fault-paths").replaceChildren(...[...paths].sort().map((path) => h("option", { value: path })));
    if (store.faults.length) soon();
  });
  on("state", (changes) => {
    const count = store.state?.faults;
    if (typeof count !== "number" || count !== store.faults.length || changes?.first) soon();
  });
  on("reload", loadFaults);
  on("reset", loadFaults);
  on("language", render);
}
