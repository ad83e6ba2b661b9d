// Makes pages more comfortable; every page works without it, by plain links and forms.
"use strict";

// Moments come as UTC and are shown in the zone of the viewer; the title keeps UTC.
function localTimes(root) {
  const now = new Date();
  for (const time of root.querySelectorAll("time[datetime]:not([data-local])")) {
    const moment = new Date(time.dateTime);
    const far = moment.getFullYear() !== now.getFullYear();
    const today = moment.toDateString() === now.toDateString();
    const day = today ? {} : { day: "numeric", month: "short", ...(far ? { year: "numeric" } : {}) };
    time.textContent = moment.toLocaleString(undefined, { ...day, hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
    time.dataset.local = "";
  }
}

function wire(root) {
  localTimes(root);
  for (const select of root.querySelectorAll("[data-submits]")) {
    select.addEventListener("change", () => select.form.requestSubmit());
  }
}

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (opener) document.getElementById(opener.dataset.opens).showModal();
  const closer = event.target.closest("[data-closes]");
  if (closer) closer.closest("dialog").close();
  const copier = event.target.closest("[data-copies]");
  if (copier) navigator.clipboard?.writeText(copier.dataset.copies);
  for (const menu of document.querySelectorAll("details.who[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.who[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

// A form that is sent twice by an impatient hand would be done twice.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || form.hasAttribute("hx-post")) return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "1";
});
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

document.addEventListener("DOMContentLoaded", () => {
  document.documentElement.dataset.script = "on";
  wire(document);
  htmx.onLoad(wire);
  listen();
});

// Addresses stay short: what was left empty is not asked for.
document.addEventListener("htmx:configRequest", (event) => {
  if (event.detail.verb !== "get") return;
  for (const [name, value] of [...event.detail.formData.entries()]) {
    if (value === "") event.detail.formData.delete(name);
  }
});

document.addEventListener("htmx:sendError", () => {
  const notice = document.createElement("p");
  notice.className = "notice notice-bad";
  notice.textContent = "The server does not answer. Nothing was changed; it is tried again by itself.";
  document.getElementById("notices").replaceChildren(notice);
  document.body.dataset.away = "1";
});
document.addEventListener("htmx:afterOnLoad", () => {
  if (!document.body.dataset.away) return;
  delete document.body.dataset.away;
  document.getElementById("notices").replaceChildren();
});

// Live pages: an element with data-live="/address" hears that something has changed, and its parts with
// hx-trigger="live from:body" ask for themselves anew. Where events do not come through, it asks every few seconds.
const POLL_MILLISECONDS = 5000;

function listen() {
  const live = document.querySelector("[data-live]");
  if (!live) return;
  let source = null;
  let polling = null;
  let due = false;

  function refresh() {
    const busy = document.hidden || document.querySelector("dialog[open]");
    if (busy) due = true;
    else htmx.trigger(document.body, "live");
  }
  function poll(on) {
    if (on && !polling) polling = setInterval(refresh, POLL_MILLISECONDS);
    if (!on && polling) polling = clearInterval(polling) ?? null;
  }
  function connect() {
    if (source || !window.EventSource) return poll(!source);
    source = new EventSource(live.dataset.live);
    source.addEventListener("changed", refresh);
    source.addEventListener("open", () => poll(false));
    source.addEventListener("error", () => poll(true));
  }
  // A tab that nobody sees holds no connection: browsers allow a host only six.
  function seen() {
    if (document.hidden) {
      source?.close();
      source = null;
      poll(false);
      return;
    }
    connect();
    refresh();
  }
  document.addEventListener("visibilitychange", seen);
  document.addEventListener("close", () => due && ((due = false), refresh()), true);
  window.addEventListener("pagehide", () => source?.close());
  connect();
}
