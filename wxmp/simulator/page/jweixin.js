/* A stand-in for the WeChat JS-SDK, for development against the simulator. Include it instead of the real file:
 *
 *   <script src="http://127.0.0.1:PORT/_sim/page/jweixin.js"></script>
 *
 * It works inside the simulator's phone, on pages of this machine; the signature of wx.config is checked there with the
 * account's living jsapi_ticket, and a wrong one reaches wx.error. It gives `wx` (also `jWeixin`) and `WeixinJSBridge`:
 * config, ready, error, checkJsApi, chooseWXPay, closeWindow, scanQRCode, getLocation, openLocation, hideMenuItems and
 * the like, and WeixinJSBridge.invoke("getBrandWCPayRequest", …).
 */
(function () {
  "use strict";

  const LOOPBACK = /^https?:\/\/(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/;
  const script = document.currentScript;
  const own = script && script.src ? new URL(script.src).origin : "";
  const above = window.location.ancestorOrigins && window.location.ancestorOrigins.length ? window.location.ancestorOrigins[0] : own;
  const phone = window.parent !== window && LOOPBACK.test(above) ? above : "";
  const waiting = new Map();
  let serial = 0;

  window.addEventListener("message", function (event) {
    if (event.source !== window.parent || event.origin !== phone || !event.data || event.data.wxmp !== 1) return;
    const done = waiting.get(event.data.id);
    if (!done) return;
    waiting.delete(event.data.id);
    done(event.data.result || {});
  });

  function ask(call, params, done) {
    if (!phone) {
      console.warn("wxmp: open this page in the simulator's phone; here nobody answers " + call);
      setTimeout(function () { done(null); }, 0);
      return;
    }
    serial += 1;
    waiting.set(serial, done);
    window.parent.postMessage({ wxmp: 1, id: serial, call: call, params: params }, phone);
  }

  // Callbacks and other functions do not travel; plain values do.
  function plain(options) {
    const found = {};
    Object.keys(options || {}).forEach(function (name) {
      const value = options[name];
      if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") found[name] = value;
      else if (Array.isArray(value)) found[name] = value.map(String);
    });
    return found;
  }

  function report(name, options, outcome, more) {
    const result = Object.assign({ errMsg: name + ":" + outcome }, more || {});
    const kind = outcome === "ok" ? "success" : outcome === "cancel" ? "cancel" : "fail";
    if (options && typeof options[kind] === "function") options[kind](result);
    if (options && typeof options.complete === "function") options.complete(result);
    return result;
  }

  let configured = null; // null: not yet; a text: the error; true: fine
  const readies = [];
  const errors = [];
  const NEEDED = ["appId", "timestamp", "nonceStr", "signature"];

  function method(name, map) {
    return function (options) {
      if (configured !== true) {
        report(name, options, "fail, wx.config first");
        return;
      }
      ask(name, plain(options), function (result) {
        if (result === null) report(name, options, "fail, not in WeChat");
        else if (result.cancelled) report(name, options, "cancel");
        else report(name, options, "ok", map ? map(result) : result);
      });
    };
  }

  function pay(params, done) {
    ask("pay", params, function (result) {
      done(result === null ? "fail" : result.outcome || "fail", result && result.detail);
    });
  }

  const wx = {
    config: function (options) {
      const missing = NEEDED.filter(function (name) { return !options || !options[name]; });
      const known = options && Array.isArray(options.jsApiList);
      const wrong = missing.length ? "config:fail, " + missing[0] + " is missing" : known ? "" : "config:fail, jsApiList is missing";
      function settle(outcome) {
        configured = outcome || true;
        if (options && options.debug) console.info("wx.config", outcome || "config:ok");
        if (configured === true) readies.splice(0).forEach(function (ready) { ready(); });
        else errors.forEach(function (error) { error({ errMsg: configured }); });
      }
      configured = null;
      if (wrong || !phone) {
        setTimeout(function () { settle(wrong); }, 0);
        return;
      }
      const signed = { appid: String(options.appId), timestamp: String(options.timestamp), noncestr: String(options.nonceStr), signature: String(options.signature), url: window.location.href };
      ask("config", signed, function (judged) { settle(judged && judged.ok === false ? judged.error : ""); });
    },
    ready: function (callback) {
      if (configured === true) setTimeout(callback, 0);
      else readies.push(callback);
    },
    error: function (callback) {
      errors.push(callback);
      if (typeof configured === "string") setTimeout(function () { callback({ errMsg: configured }); }, 0);
    },
    checkJsApi: function (options) {
      const result = {};
      ((options && options.jsApiList) || []).forEach(function (name) { result[name] = typeof wx[name] === "function"; });
      setTimeout(function () { report("checkJsApi", options, "ok", { checkResult: result }); }, 0);
    },
    chooseWXPay: function (options) {
      if (configured !== true) {
        report("chooseWXPay", options, "fail, wx.config first");
        return;
      }
      const params = plain(options);
      // The JS-SDK spells it `timestamp`; the signature is over the same value as `timeStamp`.
      if (params.timeStamp === undefined) params.timeStamp = params.timestamp;
      pay(params, function (outcome, detail) { report("chooseWXPay", options, outcome === "ok" || outcome === "cancel" ? outcome : "fail" + (detail ? ", " + detail : "")); });
    },
    closeWindow: function (options) { ask("closeWindow", {}, function () { report("closeWindow", options, "ok"); }); },
    scanQRCode: method("scanQRCode"),
    getLocation: method("getLocation"),
    openLocation: method("openLocation"),
  };
  ["hideOptionMenu", "showOptionMenu", "hideMenuItems", "showMenuItems", "hideAllNonBaseMenuItem", "showAllNonBaseMenuItem", "updateAppMessageShareData", "updateTimelineShareData", "onMenuShareTimeline", "onMenuShareAppMessage"].forEach(function (name) {
    wx[name] = function (options) { setTimeout(function () { report(name, options, "ok"); }, 0); };
  });

  const bridge = {
    invoke: function (name, params, callback) {
      const done = typeof callback === "function" ? callback : function () {};
      if (name === "getBrandWCPayRequest") {
        pay(plain(params), function (outcome, detail) {
          const result = { err_msg: "get_brand_wcpay_request:" + (outcome === "ok" || outcome === "cancel" ? outcome : "fail") };
          if (detail && outcome !== "ok") result.err_desc = detail;
          done(result);
        });
      } else if (name === "requestMerchantTransfer") {
        ask("transfer", plain(params), function (result) {
          const outcome = result === null ? "fail" : result.outcome;
          done({ err_msg: "requestMerchantTransfer:" + outcome, err_desc: result && outcome !== "ok" ? result.detail : undefined });
        });
      } else if (name === "closeWindow") {
        ask("closeWindow", {}, function () { done({ err_msg: "close_window:ok" }); });
      } else {
        setTimeout(function () { done({ err_msg: name + ":fail, the simulator does not know it" }); }, 0);
      }
    },
    call: function (name) { bridge.invoke(name, {}); },
    on: function () {},
  };

  window.wx = window.jWeixin = wx;
  window.WeixinJSBridge = bridge;

  function hello() {
    if (phone) ask("hello", { href: window.location.href, title: document.title }, function () {});
    const ready = document.createEvent("Event");
    ready.initEvent("WeixinJSBridgeReady", true, true);
    document.dispatchEvent(ready);
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", hello);
  else setTimeout(hello, 0);
})();
