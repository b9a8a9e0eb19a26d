// What the page knows, and who wants to hear when it changes.

export const store = {
  /** The /_sim/state document, or null before the first answer. */
  state: null,
  /** The account shown. */
  appid: null,
  phones: [],
  /** The openid whose phone is shown. */
  openid: null,
  /** The /_sim/phone document of that openid. */
  phone: null,
  faults: [],
  effects: [],
  lint: [],
  merchants: [],
  /** openids with news the person at the page has not looked at. */
  unread: new Set(),
};

const listeners = new Map();

export function on(name, listener) {
  if (!listeners.has(name)) listeners.set(name, new Set());
  listeners.get(name).add(listener);
}

export function emit(name, detail) {
  for (const listener of listeners.get(name) ?? []) {
    try {
      listener(detail);
    } catch (error) {
      // One broken corner must not take the page down.
      console.error(`listener of ${name}`, error);
    }
  }
}

export const account = () => store.state?.accounts?.[store.appid] ?? null;
export const accountName = () => account()?.name || store.appid || "";

export function remembered(name, fallback) {
  try {
    return localStorage.getItem(`wxmp-sim-${name}`) ?? fallback;
  } catch {
    return fallback;
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(`wxmp-sim-${name}`, value);
  } catch {
    // Storage is switched off: nothing is remembered.
  }
}
