// Six zones of two lungs, as a picture: the patient's right lung is on the left, as on the film.

const SVG = "http://www.w3.org/2000/svg";
const NAMES = {
  a: "right upper zone",
  b: "right middle zone",
  c: "right lower zone",
  d: "left upper zone",
  e: "left middle zone",
  f: "left lower zone",
};
const SHAPES = {
  a: "M84 14C66 12 48 34 39 62H92V26Q92 15 84 14Z",
  b: "M38 66C32 82 27 98 25 114H92V66Z",
  c: "M24 118C20 142 20 158 24 166C34 160 56 152 92 154V118Z",
  d: "M136 14C154 12 172 34 181 62H128V26Q128 15 136 14Z",
  e: "M182 66C188 82 193 98 195 114H140C134 98 128 84 128 66Z",
  f: "M196 118C200 142 200 158 196 166C188 161 170 155 152 153C152 140 146 128 141 118Z",
};
const LABELS = { a: [70, 46], b: [62, 95], c: [60, 141], d: [150, 46], e: [162, 95], f: [172, 141] };

/** An SVG of the two lungs, for the probability of opacity by zone, `{a: 0.1, ...}`. */
export function drawLungs(zones) {
  const said = Object.entries(NAMES).map(([key, name]) => `${name} ${percent(zones[key])}`);
  const svg = make("svg", {
    viewBox: "0 0 220 184",
    class: "lungs",
    role: "img",
    "aria-label": `Probability of opacity: ${said.join(", ")}`,
  });
  for (const key of Object.keys(NAMES)) {
    const [x, y] = LABELS[key];
    svg.append(
      make("path", { d: SHAPES[key], "fill-opacity": (0.06 + 0.84 * zones[key]).toFixed(3) }),
      make("text", { x, y }, percent(zones[key])),
    );
  }
  svg.append(make("text", { x: 60, y: 180, class: "side" }, "right"), make("text", { x: 160, y: 180, class: "side" }, "left"));
  return svg;
}

function percent(probability) {
  return `${Math.round(100 * probability)} %`;
}

function make(name, attributes, text = "") {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
}
