// The page: files in, one after the other to the server, results into the session's list.

import { get, hasToken, post, Refusal, rememberToken, takeTokenFromAddress } from "./api.js";
import { toCsv } from "./csv.js";
import { droppedFiles, named } from "./files.js";
import { badge, describe, describeAccuracy, element, isLeft, percent, verdict } from "./result.js";

const SCHEMA = "cxrs-edge/grade/1";
const byId = (id) => document.getElementById(id);

/** What `/api/about` said. */
let about = { meaning: {}, outputs: [], csv_columns: [] };
/** Whether this server is known, and the token too if it wants one. */
let ready = false;
/** How often the server was asked what it is: an answer to an earlier question says nothing. */
let asked = 0;
let waiting = [];
let done = 0;
let running = null;
let unsaved = false;
/** What the user chose while files are being graded: the page stays with it. */
let chosen = null;
/** `{result, file, button}` of the session, in the order of their grading. */
let session = [];

// -- grading ----------------------------------------------------------------------------------

async function add(items) {
  waiting.push(...items);
  showProgress();
  if (running || !ready) return;
  const mine = new AbortController();
  running = mine;
  while (waiting.length) {
    const { file, name } = waiting[0];
    const result = await grade(file, name, mine.signal);
    const gone = result && isLeft(result) && !(await serverAnswers());
    if (running !== mine) return;
    if (!result) break;
    if (gone) leave(result.error);
    else settle(result, file);
  }
  running = null;
  if (ready) finish();
}

function settle(result, file) {
  waiting.shift();
  done += 1;
  record(result, file);
  showProgress();
}

/** What waits stays in the list with the reason why it was not graded. */
function leave(error) {
  const left = waiting;
  waiting = [];
  for (const { file, name } of left) record(failure(name, error), file);
}

function stop() {
  running?.abort();
  running = null;
  leave({ kind: "stopped", message: "stopped before it was graded; press Try again" });
  finish();
  byId(byId("again").hidden ? "files" : "again").focus();
}

function tryAgain() {
  const left = session.filter(({ result }) => isLeft(result));
  session = session.filter(({ result }) => !isLeft(result));
  for (const { button } of left) button.closest("tr").remove();
  showSession();
  byId("files").focus();
  add(left.map(({ file, result }) => ({ file, name: result.source })));
}

/** One request may fail alone, because of the network or of its file. */
async function serverAnswers() {
  try {
    await get("/api/about");
    return true;
  } catch {
    return false;
  }
}

function failure(name, { kind = "error", message }) {
  return { schema: SCHEMA, source: name, outcome: "error", error: { kind, message } };
}

function finish() {
  waiting = [];
  done = 0;
  chosen = null;
  showProgress();
}

/** A result of the JSON contract; null if it was stopped, or if the token is wanted first. */
async function grade(file, name, signal) {
  try {
    await check(file);
    const response = await post("/api/grade", file, signal, showProgress);
    return { ...(await response.json()), source: name };
  } catch (error) {
    if (error.name === "AbortError") return null;
    if (error.kind === "token") {
      askForToken();
      return null;
    }
    return failure(name, error);
  }
}

async function check(file) {
  if (file.size > about.max_bytes) {
    throw new Refusal("image", `larger than ${about.max_bytes / 1e6} MB; expected one X-ray; export it smaller`);
  }
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    throw new Refusal("input", "can't be read; was it moved, changed or is it a folder?");
  }
}

// -- the session's list -----------------------------------------------------------------------

function record(result, file) {
  const button = element("button", { type: "button" }, result.source);
  const entry = { result, file, button };
  button.addEventListener("click", () => choose(entry));
  const level2 = result.probabilities?.level2;
  const cells = [button, badge(result), level2 === undefined ? "" : percent(level2)];
  byId("rows").append(element("tr", {}, ...cells.map((cell) => element("td", {}, cell))));
  session.push(entry);
  unsaved = true;
  showSession();
  byId("status").textContent = `${result.source}: ${verdict(result)}`;
  if (!chosen) select(entry);
}

function showSession() {
  byId("session").hidden = !session.length;
  byId("session-title").textContent = session.length > 1 ? `This session: ${session.length} files` : "This session";
  byId("again").hidden = !session.some(({ result }) => isLeft(result));
}

function choose(entry) {
  if (running) chosen = entry;
  select(entry);
  const { top } = byId("detail").getBoundingClientRect();
  if (top < 0 || top > innerHeight / 2) byId("detail").scrollIntoView();
}

function select(entry) {
  for (const { button } of session) button.setAttribute("aria-current", String(button === entry.button));
  showInList(entry.button);
  byId("detail").replaceChildren(...describe(entry.result, about.meaning, pictures(entry.file)));
}

/** Scroll the list alone: on a phone the page must not leave the result. */
function showInList(button) {
  const list = button.closest(".scroll");
  const [row, frame] = [button, list].map((part) => part.getBoundingClientRect());
  list.scrollTop += Math.max(0, row.bottom - frame.bottom) - Math.max(0, frame.top - row.top);
}

const SEEN = {
  path: "/api/seen",
  offer: "Show what the network saw",
  alt: "The square of this X-ray that the network saw",
  caption: "What the network saw: cropped, squared, resized. Text in the picture itself is not removed.",
};
const EVIDENCE = {
  path: "/api/evidence",
  offer: "Show what speaks for it",
  alt: "The X-ray coloured by what speaks for each level",
  caption: "Orange speaks for level 2, blue for level 1: what each place adds to this model's decision. "
    + "It shows what the model went by, not where disease is.",
};

/** Pictures that the server draws when asked: the file is sent again, since it keeps none. */
function pictures(file) {
  const offers = about.outputs.includes("evidence") ? [SEEN, EVIDENCE] : [SEEN];
  const shown = element("div", { class: "stack" });
  const buttons = offers.map((offer) => {
    const button = element("button", { type: "button" }, offer.offer);
    button.addEventListener("click", () => show(offer, file, button, shown));
    return button;
  });
  return element("div", { class: "stack" }, element("div", { class: "row" }, ...buttons), shown);
}

async function show({ path, offer, alt, caption }, file, button, shown) {
  button.disabled = true;
  try {
    const busy = () => { button.textContent = "Waiting for the server…"; };
    const picture = await (await post(path, file, undefined, busy)).blob();
    shown.append(figure(URL.createObjectURL(picture), alt, caption));
    button.remove();
  } catch (error) {
    shown.append(element("p", { class: "message", role: "alert" }, error.message));
    button.textContent = offer;
    button.disabled = false;
  }
}

function figure(url, alt, caption) {
  const img = element("img", { alt, width: "480", height: "480" });
  img.addEventListener("load", () => URL.revokeObjectURL(url));
  img.src = url;
  return element("figure", {}, img, element("figcaption", { class: "quiet" }, caption));
}

function clear() {
  session = [];
  unsaved = false;
  byId("rows").replaceChildren();
  showSession();
  byId("detail").replaceChildren(element("p", { class: "quiet empty" }, "The result of an X-ray is shown here."));
  byId("files").focus();
}

function download() {
  // Spreadsheets take a file without the mark for one in an older encoding.
  const text = `\ufeff${toCsv(about.csv_columns, session.map(({ result }) => result))}`;
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  element("a", { href: url, download: "cxrs-edge-grades.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
  unsaved = false;
}

// -- the rest of the page ---------------------------------------------------------------------

/** `state` says why it takes longer. */
function showProgress(state = "") {
  const all = done + waiting.length;
  byId("progress").hidden = !waiting.length;
  byId("progress-bar").max = all || 1;
  byId("progress-bar").value = done;
  const turn = `Grading ${Math.min(done + 1, all)} of ${all}`;
  byId("progress-text").textContent = state ? `${turn}: ${state}` : turn;
}

function askForToken() {
  ready = false;
  byId("token-form").hidden = false;
  byId("token-wrong").hidden = !hasToken();
  byId("token").focus();
}

async function start() {
  const mine = ++asked;
  try {
    const answer = await get("/api/about");
    if (mine !== asked) return undefined;
    about = answer;
  } catch (error) {
    if (mine !== asked) return undefined;
    if (error.kind === "token") return askForToken();
    byId("about").textContent = error.message;
    return undefined;
  }
  ready = true;
  const { model, engine } = about;
  byId("about").textContent = `Model ${model.name} ${model.version} ${model.precision}, ${engine.name}`;
  byId("accuracy").textContent = describeAccuracy(about.accuracy);
  if (!byId("token-form").hidden) byId("files").focus();
  byId("token-form").hidden = true;
  return add([]);
}

byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  rememberToken(byId("token").value.trim());
  byId("token").value = "";
  start();
});
byId("files").addEventListener("change", ({ target }) => {
  add(named(target.files));
  // Else choosing the same file again would be no change.
  target.value = "";
});
byId("stop").addEventListener("click", stop);
byId("again").addEventListener("click", tryAgain);
byId("csv").addEventListener("click", download);
byId("clear").addEventListener("click", clear);

addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
addEventListener("drop", async (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  add(await droppedFiles(event.dataTransfer));
});
addEventListener("beforeunload", (event) => {
  if (unsaved || running) event.preventDefault();
});

// A new link in a tab that is open changes nothing but the part behind #.
addEventListener("hashchange", () => {
  takeTokenFromAddress();
  if (!ready) start();
});
takeTokenFromAddress();
start();
