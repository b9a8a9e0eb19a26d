// Simulated time between two words of the server: its last `now`, its speed, and how long ago that was here.

import { t } from "./i18n.js";
import { on } from "./store.js";

let base = Date.now() / 1000;
let speed = 1;
let heard = performance.now();

export function setTime(now, rate) {
  if (typeof now === "number") base = now;
  if (typeof rate === "number") speed = rate;
  heard = performance.now();
}

export const now = () => base + ((performance.now() - heard) / 1000) * speed;
export const speedNow = () => speed;

on("hello", (hello) => setTime(hello.now, hello.speed));
on("state-read", (state) => setTime(state.now, state.speed));

const two = (value) => String(value).padStart(2, "0");

export function clockText(seconds) {
  const date = new Date(seconds * 1000);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

export function dateText(seconds) {
  const date = new Date(seconds * 1000);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** 1:59:07, 4:05, or 2 d 03:10 for long ones. */
export function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const days = Math.floor(whole / 86400);
  const hours = Math.floor((whole % 86400) / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  if (days) return `${t("time.days", { n: days })} ${two(hours)}:${two(minutes)}`;
  if (hours) return `${hours}:${two(minutes)}:${two(whole % 60)}`;
  return `${minutes}:${two(whole % 60)}`;
}

// Everything that counts down registers the moment it counts to; one ticker writes them all.
const counters = new Map();

/** Let an element show the time until `moment` (or since it, with `since`). It ends when the element is gone. */
export function countdown(element, moment, { since = false, show = (text) => text, after = null } = {}) {
  counters.set(element, { moment, since, show, after });
  writeOne(element, counters.get(element));
  return element;
}

function writeOne(element, { moment, since, show, after }) {
  const left = since ? now() - moment : moment - now();
  const text = show(span(left), left);
  if (element.textContent !== text) element.textContent = text;
  if (!since && left <= 0 && after) {
    counters.delete(element);
    after(element);
  }
}

setInterval(() => {
  for (const [element, counter] of counters) {
    if (!element.isConnected) counters.delete(element);
    else writeOne(element, counter);
  }
}, 250);
