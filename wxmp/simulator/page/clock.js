// The clock of the world: real, fast, frozen, and jumps ahead that let everything due happen.

import { post, toast } from "./api.js";
import { $, $$ } from "./dom.js";
import { t } from "./i18n.js";
import { connection } from "./live.js";
import { emit, on } from "./store.js";
import { clockText, dateText, now, setTime, span, speedNow } from "./time.js";

const JUMPS = { 60: "1 min", 3600: "1 h", 7200: "2 h", 86400: "1 d" };

async function change(body) {
  try {
    const answer = await post("clock", body);
    setTime(answer.now, answer.speed);
    show();
    emit("clock");
    if (body.advance) toast(t("clock.advanced", { time: JUMPS[body.advance] ?? span(body.advance) }));
  } catch {
    // The toast has said it.
  }
}

function show() {
  const moment = now();
  const text = clockText(moment);
  const face = $("#clock-now");
  if (face.textContent !== text) {
    face.textContent = text;
    $("#clock-date").textContent = dateText(moment);
    $("#bar-clock").textContent = text;
  }
  const speed = speedNow();
  const mode = speed === 0 ? "frozen" : speed === 1 ? "real" : "fast";
  $("#clock-mode").textContent = speed === 0 ? t("clock.frozen") : speed === 1 ? t("clock.real") : t("clock.times", { speed });
  $("#clock-card").dataset.mode = mode;
  $("#bar-clock").dataset.mode = mode;
  for (const button of $$("[data-speed]")) {
    const wanted = Number(button.dataset.speed);
    button.setAttribute("aria-pressed", String(wanted === speed));
  }
}

const ASK = 2000;

/** A clock that a test or another window has moved tells nobody when nothing was due: it is asked now and then. */
async function follow() {
  if (connection() !== "live" || document.hidden) return;
  try {
    const answer = await post("clock", {}, { quiet: true });
    setTime(answer.now, answer.speed);
    show();
  } catch {
    // The connection badge tells.
  }
}

export function startClock() {
  for (const button of $$("[data-speed]")) {
    button.addEventListener("click", () => {
      const speed = Number(button.dataset.speed);
      change(speed === 0 ? { freeze: true } : { scale: speed });
    });
  }
  for (const button of $$("[data-advance]")) {
    button.addEventListener("click", () => change({ advance: Number(button.dataset.advance) }));
  }
  setInterval(show, 250);
  setInterval(follow, ASK);
  on("state", show);
  on("language", show);
  show();
}
