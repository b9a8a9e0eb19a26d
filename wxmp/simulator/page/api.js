// The control API under /_sim/: JSON in, JSON out. Whatever goes wrong becomes one sentence in a toast.

import { h, icon } from "./dom.js";
import { t } from "./i18n.js";
import { store } from "./store.js";

export class ApiError extends Error {}

function address(path, query = {}) {
  const url = new URL(`/_sim/${path}`, location.origin);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, value);
  }
  return url;
}

async function call(method, path, { query, body, quiet = false } = {}) {
  let answer;
  try {
    const options = { method, headers: { accept: "application/json" } };
    if (body !== undefined) {
      options.headers["content-type"] = "application/json";
      options.body = typeof body === "string" ? body : JSON.stringify(body);
    }
    answer = await fetch(address(path, query), options);
  } catch {
    const error = new ApiError(t("error.offline"));
    if (!quiet) toast(error.message, "bad");
    throw error;
  }
  const text = await answer.text();
  let value = null;
  try {
    value = text ? JSON.parse(text) : {};
  } catch {
    value = null;
  }
  if (!answer.ok || value === null) {
    const error = new ApiError(value?.error ?? `HTTP ${answer.status}`);
    error.status = answer.status;
    if (!quiet) toast(error.message, "bad");
    throw error;
  }
  return value;
}

export const get = (path, query, options = {}) => call("GET", path, { query, ...options });
export const post = (path, body = {}, options = {}) => call("POST", path, { body, ...options });
export const del = (path, query, options = {}) => call("DELETE", path, { query, ...options });

/** The person at the phone does something. */
export function act(action, body = {}, openid = store.openid, options = {}) {
  return post(`users/${encodeURIComponent(openid)}/${action}`, { appid: store.appid, ...body }, options);
}

export const mediaUrl = (mediaId) => address("media", { media_id: mediaId, appid: store.appid }).href;
export const qrUrl = (text) => address("qr.png", { text }).href;

/**
 * Show a sentence for a few seconds. `kind`: ok, bad. Of one `topic` only the newest is shown: good news make way
 * for newer ones, troubles for the same trouble. */
export function toast(text, kind = "ok", topic = kind === "bad" ? text : kind) {
  const box = document.getElementById("toasts");
  for (const old of [...box.children]) if (old.dataset.topic === topic) old.remove();
  const item = h("div", { class: `toast ${kind}`, role: kind === "bad" ? "alert" : "status", dataset: { topic } }, icon(kind === "bad" ? "warn" : "ok"), h("span", { text }));
  box.append(item);
  while (box.children.length > 3) box.firstChild.remove();
  setTimeout(() => item.remove(), kind === "bad" ? 7000 : 3000);
}
