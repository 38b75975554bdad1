// The reading form: zones first, then the regions; kept in this browser, exported as CSV (`toCsv` stands above).

const ZONES = ["a", "b", "c", "d", "e", "f"];
const REGIONS = ["1", "2", "3"];
const { booklet, columns } = document.body.dataset;
const key = `cxrs-edge-review/${booklet}`;
const cases = [...document.querySelectorAll(".case")];
const byId = (id) => document.getElementById(id);

let state = { reader: "", current: 0, cases: {} };
let stored = true;
let unsaved = false;

// -- what is kept -----------------------------------------------------------------------------

/** What was kept, unless it is none of ours: a browser shares one store among all pages from files. */
function load() {
  try {
    const found = JSON.parse(localStorage.getItem(key));
    if (found && typeof found.cases === "object") state = { ...state, ...found };
  } catch {
    stored = false;
  }
}

function save() {
  unsaved = true;
  try {
    localStorage.setItem(key, JSON.stringify(state));
  } catch {
    stored = false;
  }
  showStored();
}

function showStored() {
  if (!stored) {
    byId("kept").textContent = "This browser keeps nothing: export the CSV before you close this page. "
      + "Nothing is sent anywhere.";
  }
}

function reading(section) {
  return (state.cases[section.dataset.case] ??= { zones: [], fixed: false, regions: {}, comment: "" });
}

// -- what is shown ----------------------------------------------------------------------------

function show() {
  byId("reader").value = state.reader;
  cases.forEach(showCase);
  showProgress();
  turnTo(Math.min(Math.max(state.current, 0), cases.length - 1));
}

function showCase(section) {
  const { zones, fixed, regions, comment } = reading(section);
  for (const box of section.querySelectorAll("[name=zone]")) {
    box.checked = zones.includes(box.value);
    box.disabled = fixed;
  }
  for (const factor of section.querySelectorAll(".factor")) {
    for (const choice of factor.querySelectorAll("input")) {
      choice.checked = regions[factor.dataset.region] === choice.value;
    }
  }
  section.querySelector("textarea").value = comment;
  section.classList.toggle("fixed", fixed);
  section.querySelector(".fix").hidden = fixed;
  showWhatIsFixed(section, zones.length);
  section.querySelector(".revealed").hidden = !fixed;
  const regionSwitch = section.querySelector(".switch");
  if (regionSwitch) regionSwitch.hidden = !fixed;
}

/** What the button will do, alike for cases with and without regions: it must not tell before. */
function showWhatIsFixed(section, count) {
  const what = count ? `Fix ${count} ${count > 1 ? "zones" : "zone"}` : "No zone affected: fix this";
  section.querySelector(".fix").textContent = `${what} and show regions`;
}

function showProgress() {
  const read = cases.filter((section) => reading(section).fixed);
  const factors = cases.flatMap((section) => [...section.querySelectorAll(".factor")]);
  const rated = factors.filter((factor) => reading(factor.closest(".case")).regions[factor.dataset.region]);
  byId("progress").textContent = `${read.length} of ${cases.length} cases read, `
    + `${rated.length} of ${factors.length} regions judged`;
  cases.forEach((section, number) => {
    const link = byId("contents").children[number];
    const missing = whatMisses(section);
    link.className = missing === "" ? "done" : missing === "regions" ? "half" : "";
    link.setAttribute("aria-label", `Case ${number + 1}${missing === "" ? ", done" : `, ${missing} missing`}`);
  });
}

/** `zones`, `regions` or nothing. */
function whatMisses(section) {
  const { fixed, regions } = reading(section);
  if (!fixed) return "zones";
  const factors = [...section.querySelectorAll(".factor")];
  return factors.every((factor) => regions[factor.dataset.region]) ? "" : "regions";
}

function turnTo(number) {
  state.current = number;
  cases.forEach((section, other) => section.classList.toggle("current", other === number));
  [...byId("contents").children].forEach((link, other) => {
    if (other === number) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  });
  cases[number].querySelector(".previous").disabled = number === 0;
  cases[number].querySelector(".next").disabled = number === cases.length - 1;
}

function goTo(number) {
  turnTo(number);
  save();
  cases[number].scrollIntoView();
  cases[number].querySelector("h2").focus({ preventScroll: true });
}

/** As large as the window lets it be, or as large as it is stored: then the arrow keys scroll it. */
function showSize(section, size) {
  const view = section.querySelector(".view");
  view.classList.toggle("enlarged", size === "enlarged");
  view.tabIndex = size === "enlarged" ? 0 : -1;
  for (const button of section.querySelectorAll("[data-size]")) {
    button.setAttribute("aria-pressed", String(button.dataset.size === size));
  }
}

function say(text) {
  byId("message").textContent = text;
  byId("message").hidden = !text;
}

// -- what the reader does ---------------------------------------------------------------------

function listen(section, number) {
  section.addEventListener("change", ({ target }) => change(section, target));
  // Each letter counts: a page may be closed amid a sentence.
  section.querySelector("textarea").addEventListener("input", ({ target }) => change(section, target));
  section.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  section.querySelector(".fix").addEventListener("click", () => fix(section));
  for (const button of section.querySelectorAll("[data-size]")) {
    button.addEventListener("click", () => showSize(section, button.dataset.size));
  }
  section.querySelector(".previous").addEventListener("click", () => goTo(number - 1));
  section.querySelector(".next").addEventListener("click", () => goTo(number + 1));
}

function change(section, target) {
  const here = reading(section);
  if (target.name === "zone") {
    here.zones = [...section.querySelectorAll("[name=zone]:checked")].map((box) => box.value);
    showWhatIsFixed(section, here.zones.length);
  } else if (target.name === "comment") {
    here.comment = target.value;
  } else if (target.type === "radio") {
    here.regions[target.closest(".factor").dataset.region] = target.value;
  }
  save();
  showProgress();
}

function fix(section) {
  const here = reading(section);
  const question = "Fix that no zone has airspace opacity? This can't be changed later.";
  if (!here.zones.length && !confirm(question)) return;
  here.fixed = true;
  save();
  showCase(section);
  showProgress();
  const first = section.querySelector(".factor input") ?? section.querySelector(".next");
  first.focus();
}

function restart() {
  const question = "Start over for another reader? All that is entered here is deleted; export it first.";
  if (!confirm(question)) return;
  state = { reader: "", current: 0, cases: {} };
  save();
  unsaved = false;
  say("");
  show();
  byId("reader").focus();
}

function exportCsv() {
  const reader = state.reader.trim();
  if (!reader) {
    say("Enter your name or reader number first.");
    byId("reader").focus();
    return;
  }
  const rows = cases.map((section) => rowOf(section, reader));
  // Spreadsheets take a file without the mark for one in an older encoding.
  const url = URL.createObjectURL(new Blob([`\ufeff${toCsv(JSON.parse(columns), rows)}`], { type: "text/csv" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = `review-${booklet}-${reader.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 40)}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
  unsaved = false;
  const left = cases.filter(whatMisses).length;
  say(left ? `Exported. ${left} of ${cases.length} cases aren't finished; export again when they are.` : "Exported.");
}

/** All zones of a case that wasn't read are empty: that isn't "no opacity". */
function rowOf(section, reader) {
  const { zones, fixed, regions, comment } = reading(section);
  return {
    booklet,
    reader,
    case: Number(section.dataset.case),
    zones: fixed ? Object.fromEntries(ZONES.map((zone) => [zone, Number(zones.includes(zone))])) : {},
    regions: fixed ? Object.fromEntries(REGIONS.map((region) => [region, regions[region] ?? ""])) : {},
    comment,
  };
}

// -- the start --------------------------------------------------------------------------------

cases.forEach((section, number) => {
  const link = document.createElement("button");
  link.type = "button";
  link.textContent = String(number + 1);
  link.addEventListener("click", () => goTo(number));
  byId("contents").append(link);
  listen(section, number);
});
byId("reader").addEventListener("input", ({ target }) => {
  state.reader = target.value;
  save();
});
byId("export").addEventListener("click", exportCsv);
byId("restart").addEventListener("click", restart);
// The same booklet in another tab: what was entered last holds in both, and nothing is lost.
addEventListener("storage", (event) => {
  if (event.key === key) {
    load();
    show();
  }
});
addEventListener("beforeunload", (event) => {
  if (unsaved && !stored) event.preventDefault();
});
// On paper nothing can be opened.
const how = document.querySelector(".how");
let wasOpen = true;
addEventListener("beforeprint", () => {
  wasOpen = how.open;
  how.open = true;
});
addEventListener("afterprint", () => {
  how.open = wasOpen;
});
document.body.classList.add("ready");
load();
showStored();
show();
how.open = !cases.some((section) => reading(section).fixed);
