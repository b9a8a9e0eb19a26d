// The live stream. It survives restarts of the simulator: whenever the stream comes back, everything is read again.

import { get } from "./api.js";
import { t } from "./i18n.js";
import { emit, on } from "./store.js";

const WAITS = [500, 1000, 2000, 4000];

let source = null;
let tries = 0;
let timer = 0;
let status = "connecting";

export function connection() {
  return status;
}

function show(next) {
  status = next;
  const box = document.getElementById("connection");
  box.dataset.state = next;
  box.querySelector(".label").textContent = t(`connection.${next}`);
  box.title = t(`connection.${next}.title`);
}

/** Read the newest exchanges, then follow the stream from there. */
export async function connect() {
  clearTimeout(timer);
  source?.close();
  let last = 0;
  try {
    const { exchanges, last: seq } = await get("journal", { limit: 1000, brief: 1 }, { quiet: true });
    emit("journal", exchanges);
    last = exchanges.length ? exchanges[exchanges.length - 1].seq : (seq ?? 0);
  } catch {
    retry();
    return;
  }
  emit("reload");
  follow(last);
}

function follow(since) {
  const stream = new EventSource(`/_sim/live?since=${since}`);
  source = stream;
  const hear = (name, act) => stream.addEventListener(name, (event) => act(JSON.parse(event.data || "{}")));
  hear("hello", (hello) => {
    tries = 0;
    show("live");
    emit("hello", hello);
  });
  hear("exchanges", (list) => emit("exchanges", list));
  hear("phones", (revisions) => emit("revisions", revisions));
  hear("state", (state) => emit("state-read", state));
  hear("lint", (list) => emit("lint-read", Array.isArray(list) ? list : (list.findings ?? [])));
  hear("reset", () => { emit("reset"); connect(); });
  hear("gap", () => connect());
  stream.onerror = () => {
    if (source !== stream) return;
    stream.close();
    retry();
  };
}

function retry() {
  show(tries === 0 && status === "connecting" ? "connecting" : "lost");
  const wait = WAITS[Math.min(tries, WAITS.length - 1)];
  tries += 1;
  clearTimeout(timer);
  timer = setTimeout(connect, wait);
}

on("language", () => show(status));
window.addEventListener("online", () => { if (status !== "live") connect(); });
window.addEventListener("pagehide", () => source?.close());
