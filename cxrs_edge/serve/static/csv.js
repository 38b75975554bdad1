// The session's list as the CSV that `cxrs-edge predict --format csv` writes.

/** CSV of results (objects of the JSON contract), with the columns that the server names. */
export function toCsv(columns, results) {
  const rows = results.map((result) => {
    const cells = flatten(result);
    return columns.map((column) => quote(cells.get(column) ?? "")).join(",");
  });
  return `${[columns.join(","), ...rows].join("\n")}\n`;
}

/** `{model: {name: 1}}` -> `model_name`, `{zones: {a: 1}}` -> `zone_a`, `{timing_ms: {read: 1}}` -> `read_ms`. */
function flatten(result) {
  const cells = new Map();
  for (const [key, value] of Object.entries(result)) {
    if (Array.isArray(value)) cells.set(key, value.join("; "));
    else if (value === null || typeof value !== "object") cells.set(key, value);
    else for (const [inner, leaf] of Object.entries(value)) cells.set(columnOf(key, inner), leaf);
  }
  return cells;
}

function columnOf(key, inner) {
  if (key.endsWith("_ms")) return `${inner}_ms`;
  return `${key.replace(/ies$/, "y").replace(/s$/, "")}_${inner}`;
}

function quote(value) {
  if (typeof value !== "string") return String(value);
  const text = value.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, escapeCharacter);
  // A spreadsheet would run it as a formula.
  const safe = /^[=+\-@]/.test(text) ? `'${text}` : text;
  return /[",]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function escapeCharacter(character) {
  const short = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[character];
  return short ?? `\\u${character.codePointAt(0).toString(16).padStart(4, "0")}`;
}
