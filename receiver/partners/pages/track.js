// Keeps the page up to date: asks for it again, and shows times as the reader's own clock has them.
(() => {
  "use strict";
  const ON_ITS_WAY_MS = 5000, OVER_MS = 60000, LONGEST_MS = 300000;
  const here = () => document.getElementById("payout");
  let etag = here().dataset.etag, failures = 0, timer = null;

  function span(ms) {
    const s = Math.floor(ms / 1000), units = [[Math.floor(s / 86400), "d"], [Math.floor(s / 3600) % 24, "h"],
      [Math.floor(s / 60) % 60, "min"], [s % 60, "s"]];
    const first = units.findIndex(([number]) => number > 0);
    return first < 0 ? "0 s" : units.slice(first, first + 2).map(([number, unit]) => `${number} ${unit}`).join(" ");
  }

  function count() {
    for (const element of document.querySelectorAll("[data-until]")) {
      const left = Date.parse(element.dataset.until) - Date.now();
      const words = left > 0 ? `Expected in ${span(left)}` : "It takes longer than expected";
      if (element.textContent !== words) element.textContent = words;
    }
  }

  function isUpToDate() {
    here().querySelector(".as-of time").dateTime = new Date().toISOString();
    failures = 0;
    localise();
  }

  function localise() {
    for (const element of document.querySelectorAll("time")) {
      element.textContent = new Date(element.dateTime).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    }
    count();
  }

  // In place: a screen reader announces what changes inside the region that it knows.
  function show(page) {
    document.title = page.title;
    for (const part of ["header", ".now", ".steps"]) {
      const old = here().querySelector(part), fresh = page.querySelector(part);
      old.className = fresh.className;
      old.replaceChildren(...fresh.childNodes);
    }
  }

  const isOnItsWay = () => document.querySelector(".steps .ahead") !== null;

  async function ask() {
    try {
      const answer = await fetch(location.href, { cache: "no-store", headers: { "If-None-Match": etag } });
      if (answer.status === 200) {
        etag = answer.headers.get("etag");
        show(new DOMParser().parseFromString(await answer.text(), "text/html"));
        isUpToDate();
      } else if (answer.status === 304) {
        isUpToDate();
      } else {
        failures += 1;
      }
    } catch {
      failures += 1;
    }
    plan();
  }

  function plan() {
    clearTimeout(timer);
    const usual = isOnItsWay() ? ON_ITS_WAY_MS : OVER_MS;
    if (!document.hidden) timer = setTimeout(ask, Math.min(usual * 2 ** failures, LONGEST_MS));
  }

  document.documentElement.classList.add("is-live");
  localise();
  setInterval(count, 1000);
  document.addEventListener("visibilitychange", () => { if (document.hidden) plan(); else ask(); });
  plan();
})();
