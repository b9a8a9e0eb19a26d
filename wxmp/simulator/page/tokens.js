// Tokens alive and calls left. Values never reach this page: only fingerprints do.

import { post, toast } from "./api.js";
import { $, fill, h } from "./dom.js";
import { t } from "./i18n.js";
import { account, on, store } from "./store.js";
import { countdown, now } from "./time.js";

const LIFE = 7200;

async function kill(channel, how) {
  try {
    await post("tokens/kill", { appid: store.appid, channel, how });
    toast(t(`tokens.kill.${how}.done`, { channel }));
  } catch {
    // The toast has said it.
  }
}

function tokenRow(token, readAt) {
  const ends = readAt + token.seconds_left;
  const life = token.life || LIFE;
  const bar = h("span", { class: "bar-fill" });
  const left = h("span", { class: "mono left" });
  const dying = token.current === false;
  countdown(left, ends, {
    show: (text, seconds) => {
      bar.style.width = `${Math.max(0, Math.min(100, (seconds / life) * 100))}%`;
      return seconds > 0 ? text : t("tokens.dead");
    },
  });
  return h(
    "li",
    { class: dying || token.seconds_left < 300 ? "token low" : "token" },
    h("span", { class: "chip", text: t(`channel.${token.channel}`) }),
    h("span", { class: "mono", title: t("tokens.fingerprint"), text: token.fingerprint }),
    h("span", { class: "muted small", text: `#${token.serial}${dying ? ` · ${t("tokens.replaced")}` : ""}` }),
    left,
    h("span", { class: "bar" }, bar),
  );
}

function renderTokens() {
  const shown = account();
  const tokens = shown?.tokens ?? [];
  const readAt = store.state?.now ?? now();
  const asked = shown?.token_requests ?? {};
  const issued = shown?.tokens_issued ?? {};
  $("#tokens-count").textContent = t("tokens.asked", { asked: (asked.plain ?? 0) + (asked.stable ?? 0), issued: (issued.plain ?? 0) + (issued.stable ?? 0) });
  const key = JSON.stringify([store.appid, tokens.map((token) => [token.serial, token.current, Math.round(readAt + token.seconds_left)]), document.documentElement.lang]);
  fill($("#tokens"), tokens.length ? tokens.map((token) => tokenRow(token, readAt)) : [h("li", { class: "none", text: t("tokens.none") })], key);
}

function quotaRow([path, quota]) {
  const { used, limit } = quota;
  const share = limit ? Math.min(1, used / limit) : 0;
  const fillBar = h("span", { class: "bar-fill" });
  fillBar.style.width = `${limit ? Math.max(used ? 1.5 : 0, share * 100) : 0}%`;
  const level = share >= 1 ? "bad" : share >= 0.8 ? "warn" : "";
  return h(
    "li",
    { class: `quota ${level}`, title: `${path}\n${used} / ${limit ?? "∞"}` },
    h("span", { class: "quota-path mono", text: path.replace(/^\/cgi-bin\//, "") }),
    h("span", { class: "mono small", text: `${used.toLocaleString("en")} / ${limit === null || limit === undefined ? "∞" : limit.toLocaleString("en")}` }),
    h("span", { class: "bar", role: "meter", "aria-label": path, "aria-valuenow": used, "aria-valuemin": 0, "aria-valuemax": limit ?? used }, fillBar),
  );
}

function renderQuotas() {
  const quotas = Object.entries(account()?.quotas ?? {}).filter(([, quota]) => quota.used > 0);
  quotas.sort(([, a], [, b]) => (b.limit ? b.used / b.limit : 0) - (a.limit ? a.used / a.limit : 0) || b.used - a.used);
  const key = JSON.stringify([store.appid, quotas, document.documentElement.lang]);
  fill($("#quotas"), quotas.length ? quotas.map(quotaRow) : [h("li", { class: "none", text: t("quotas.none") })], key);
}

export function startTokens() {
  for (const button of document.querySelectorAll("[data-kill]")) {
    button.addEventListener("click", () => kill($("#kill-channel").value, button.dataset.kill));
  }
  const render = () => {
    renderTokens();
    renderQuotas();
  };
  on("state", render);
  on("language", render);
}
