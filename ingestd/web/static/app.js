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

// A form with a file says how far it is, and that a file is too large before it is sent.
function sends(form) {
  const file = form.querySelector("input[type=file]");
  const told = form.querySelector("[data-told]");
  const most = Number(form.dataset.uploads);
  const size = (bytes) => {
    if (bytes < 1024 * 1024) return `${(Math.round((bytes / 1024) * 10) / 10).toLocaleString()} kB`;
    // Upwards, so that what is a byte too large is not said to be as large as may be.
    return `${(Math.ceil((bytes / 1024 / 1024) * 10) / 10).toLocaleString()} MB`;
  };

  file.addEventListener("change", () => {
    const [chosen] = file.files;
    const problem = chosen && chosen.size > most ? `${chosen.name} has ${size(chosen.size)}; ${size(most)} is the most. Split it into several files.` : "";
    file.setCustomValidity(problem);
    file.setAttribute("aria-invalid", problem ? "true" : "false");
    told.textContent = problem || (chosen ? `${chosen.name}, ${size(chosen.size)}` : "");
    told.classList.toggle("told-bad", Boolean(problem));
  });

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (form.dataset.sent) return;
    const bar = form.querySelector("progress");
    const request = new XMLHttpRequest();
    const fail = (html) => {
      document.getElementById("notices").innerHTML = html;
      document.getElementById("main").scrollIntoView();
      bar.hidden = true;
      told.textContent = "";
      delete form.dataset.sent;
    };
    bar.hidden = false;
    bar.value = 0;
    request.upload.addEventListener("progress", (at) => {
      bar.max = at.total;
      bar.value = at.loaded;
      const done = at.loaded === at.total;
      told.textContent = done ? "All of it is there; its columns are being looked at …" : `${size(at.loaded)} of ${size(at.total)}`;
    });
    request.addEventListener("load", () => {
      const next = request.getResponseHeader("HX-Redirect");
      if (next) window.location.assign(next);
      else fail(request.responseText);
    });
    request.addEventListener("error", () => fail('<p class="notice notice-bad" role="alert">The file did not arrive whole, and nothing of it is kept. Send it once more; if it is too large, split it.</p>'));
    request.open("POST", form.action);
    request.setRequestHeader("HX-Request", "true");
    request.setRequestHeader("HX-Current-URL", window.location.href);
    request.send(new FormData(form));
  });
}

// The whole page is wired by us, and by htmx once more.
const wired = new WeakSet();

function wire(root) {
  localTimes(root);
  for (const form of root.querySelectorAll("[data-uploads]")) {
    if (!wired.has(form)) sends(form);
    wired.add(form);
  }
}

// A list that a search beside it narrows: data-narrows names it; its labels are what is looked through.
function narrow(search) {
  const wanted = search.value.trim().toLowerCase();
  const list = document.getElementById(search.dataset.narrows);
  for (const label of list.querySelectorAll("label")) {
    label.hidden = !`${label.textContent} ${label.title}`.toLowerCase().includes(wanted);
  }
  for (const group of list.querySelectorAll("fieldset")) {
    group.hidden = !group.querySelector("label:not([hidden])");
  }
}

// Boxes of a form that may stand outside of it: data-ticks ticks all of them, data-counts says how many are ticked.
function tally(form) {
  const boxes = [...form.elements].filter((each) => each.type === "checkbox");
  const ticked = boxes.filter((each) => each.checked).length;
  const told = document.querySelector(`[data-counts="${form.id}"]`);
  if (!told) return;
  told.dataset.before ??= told.textContent;
  told.textContent = ticked ? `${ticked} chosen:` : told.dataset.before;
  const all = document.querySelector(`[data-ticks="${form.id}"]`);
  if (all) {
    all.checked = ticked > 0 && ticked === boxes.length;
    all.indeterminate = ticked > 0 && ticked < boxes.length;
  }
}

document.addEventListener("input", (event) => {
  if (event.target.dataset.narrows) narrow(event.target);
});
document.addEventListener("change", (event) => {
  const box = event.target;
  if ("submits" in box.dataset) box.form.requestSubmit();
  if (box.dataset.ticks) {
    const form = document.getElementById(box.dataset.ticks);
    for (const each of form.elements) if (each.type === "checkbox") each.checked = box.checked;
    tally(form);
  } else if (box.type === "checkbox" && box.form?.id) tally(box.form);
});
// A question that comes as a part of a page opens the dialog that it came into.
document.addEventListener("htmx:afterSwap", (event) => {
  const dialog = event.detail.target;
  if (dialog instanceof HTMLDialogElement && !dialog.open) dialog.showModal();
});

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (opener) document.getElementById(opener.dataset.opens).showModal();
  const closer = event.target.closest("[data-closes]");
  if (closer) closer.closest("dialog").close();
  const copier = event.target.closest("[data-copies]");
  if (copier) navigator.clipboard?.writeText(copier.dataset.copies);
});

// A form that is sent twice by an impatient hand would be done twice.
document.addEventListener("submit", (event) => {
  const form = event.target;
  const method = event.submitter?.formMethod || form.method;
  // A file that is taken along leaves the page as it is, and may be asked for again.
  if (method !== "post" || form.hasAttribute("hx-post") || "downloads" in form.dataset) return;
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
  countdown();
  listen();
});

// As data-ticks, in a form that has boxes of other kinds too: data-checks names those that are meant.
document.addEventListener("change", (event) => {
  const name = event.target.dataset?.checks;
  if (!name) return;
  for (const box of event.target.form.querySelectorAll(`input[type=checkbox][name="${name}"]`)) {
    box.checked = event.target.checked;
  }
});

// Menus that are <details> close when one works elsewhere.
const MENUS = "details.menu[open], details.who[open], details.kpi-picker[open]";
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll(MENUS)) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll(MENUS)) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
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

// What a key has chosen and Enter presses: whoever believes to be in a field types many keys, and must not do much.
let picked = null;

function pick(button) {
  picked?.classList.remove("picked");
  button?.classList.add("picked");
  picked = button;
  const told = document.querySelector("[data-picked]");
  if (told) told.textContent = button ? `${button.dataset.title}: Enter records it.` : "";
}
document.addEventListener("focusin", () => pick(null));

// Keys: an element with data-key="x" is pressed by that key, while nobody types into a field; with data-asks, by Enter
// after it.
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type=checkbox]), select, textarea");
  if (event.key === "Escape") {
    typing?.blur();
    pick(null);
  }
  if (typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const chosen = event.key === "Enter" ? picked : null;
  if (event.key === "Enter" && !chosen && event.target.closest("a, button, summary, label")) return;
  if (document.querySelector("dialog[open]")) return;
  const wanted = chosen ?? document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (!wanted) return;
  event.preventDefault();
  if (!chosen && "asks" in wanted.dataset) pick(wanted);
  else wanted.click();
});

// What is left of a time, counted by the server's clock.
function countdown() {
  for (const each of document.querySelectorAll("[data-until]")) {
    each.dataset.ahead ??= new Date(each.dataset.now) - Date.now();
    const left = Math.round((new Date(each.dataset.until) - Date.now() - Number(each.dataset.ahead)) / 1000);
    const told = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    each.textContent = left > 0 ? ` (${told} left)` : " (over: another agent may get it)";
  }
}
setInterval(countdown, 1000);

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
