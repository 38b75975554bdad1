// One result, drawn with what its JSON has: keys that a model doesn't give are not shown.

import { drawLungs } from "./lungs.js";

const OUTCOMES = { uncertain: "uncertain", rejected: "rejected", error: "no grade" };
/** Kinds of errors that are none of the file's: it can be tried again. */
const LEFT = new Set(["network", "closing", "stopped"]);

/** Whether a file was not graded because the user or the server stopped. */
export function isLeft(result) {
  return LEFT.has(result.error?.kind);
}

/** What a result is called: `Level 2`, `Level 1, uncertain`, `rejected`, `no grade`, `not graded`. */
export function verdict(result) {
  if (isLeft(result)) return "not graded";
  if (!hasLevel(result)) return OUTCOMES[result.outcome] ?? result.outcome;
  return result.outcome === "uncertain" ? `Level ${result.level}, uncertain` : `Level ${result.level}`;
}

/** The verdict as a coloured label. */
export function badge(result) {
  const colour = result.outcome === "uncertain" ? "unsure" : hasLevel(result) ? `level${result.level}` : "";
  return element("span", { class: `badge ${colour}` }, verdict(result));
}

export function percent(probability) {
  return `${(100 * probability).toFixed(1)} %`;
}

/** All there is to say of a result. `meaning` maps levels to sentences, `pictures` offers what can be drawn. */
export function describe(result, meaning, pictures) {
  return [
    element("h2", {}, result.source),
    element("div", { class: "verdict" }, badge(result), sentence(result, meaning)),
    ...scales(result),
    ...lungs(result),
    ...notes(result),
    ...(result.outcome === "error" ? [] : [pictures, computation(result)]),
  ];
}

/** What the card of the model says that its answers are worth. */
export function describeAccuracy({ by_image: byImage, images, patients }) {
  const { value, low, high } = byImage?.auc ?? {};
  if (![value, low, high].every(Number.isFinite)) return "This model's card states no accuracy.";
  const chance = low <= 0.5 ? ", not shown to be better than chance" : "";
  const set = images && patients ? ` on ${images.total} test images of ${patients.total} patients` : "";
  return `This model: AUC ${value.toFixed(2)} (95 % interval ${low.toFixed(2)} to ${high.toFixed(2)})${set}${chance}.`;
}

/** A DOM element; children are nodes or text, never HTML. */
export function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function hasLevel({ level }) {
  return level !== null && level !== undefined;
}

function sentence(result, meaning) {
  if (result.outcome === "error") return element("p", { class: "message" }, result.error.message);
  return element("p", {}, hasLevel(result) ? (meaning[result.level] ?? "") : "The model gives no level; see the notes.");
}

function scales({ probabilities = {}, geographic, opacity }) {
  const rows = Object.entries(probabilities).map(([label, probability]) =>
    scale(label.replace(/^level/, "Level "), probability, percent(probability), label),
  );
  for (const [name, score] of Object.entries({ Geographic: geographic, Opacity: opacity })) {
    if (typeof score === "number") rows.push(scale(name, score / 8, `${score.toFixed(1)} of 8`, ""));
  }
  return rows.length ? [element("div", { class: "scales" }, ...rows)] : [];
}

function scale(name, share, text, colour) {
  const fill = element("div", { class: `fill ${colour}` });
  fill.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
  return element(
    "div",
    { class: "scale" },
    element("span", {}, name),
    element("div", { class: "track", "aria-hidden": "true" }, fill),
    element("span", { class: "value" }, text),
  );
}

function lungs({ zones }) {
  return zones ? [element("div", {}, element("h3", {}, "Opacity by lung zone"), drawLungs(zones))] : [];
}

function notes({ notes: said = [] }) {
  if (!said.length) return [];
  const items = said.map((note) => element("li", {}, note));
  return [element("div", {}, element("h3", {}, "Notes"), element("ul", { class: "notes" }, ...items))];
}

function computation(result) {
  const facts = element("dl", {});
  for (const [name, text] of factsOf(result)) facts.append(element("dt", {}, name), element("dd", {}, text));
  return element("details", {}, element("summary", {}, "How it was computed"), facts);
}

function factsOf({ image, model, engine, timing_ms: timing }) {
  const facts = image ? picture(image) : [];
  facts.push(["Model", `${model.name} ${model.version} ${model.precision}, SHA-256 ${model.sha256.slice(0, 12)}…`]);
  facts.push(["Engine", `${engine.name} ${engine.version}, ${engine.threads} threads`]);
  facts.push(["Time", Object.entries(timing).map(([stop, ms]) => `${stop} ${Math.round(ms)} ms`).join(", ")]);
  return facts;
}

function picture({ format, width, height, bits, crop, grayscale }) {
  const facts = [
    ["Picture", `${format}, ${width} × ${height} pixels, ${bits} bit`],
    ["Crop", `${crop.side} × ${crop.side} pixels, ${crop.left} from the left, ${crop.top} from the top`],
  ];
  if (grayscale) {
    const { photometric, transfer_syntax: syntax, modality, voi, inverted } = grayscale;
    facts.push(["DICOM", `${photometric}, transfer syntax ${syntax}, ${inverted ? "inverted" : "not inverted"}`]);
    facts.push(["Modality LUT", step(modality)], ["VOI LUT", step(voi)]);
  }
  return facts;
}

function step(described) {
  if (!described) return "none";
  return Object.entries(described).map(([key, value]) => (key === "kind" ? value : `${key} ${value}`)).join(", ");
}
