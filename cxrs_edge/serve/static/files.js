// What was dropped -> files, also those in folders.

/** `{file, name}` of everything in a drop; `name` has the folders that led there. */
export async function droppedFiles(transfer) {
  // The list is emptied when this function first waits.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const plain = [...transfer.files];
  if (!entries.length) return named(plain);
  const found = [];
  for (const entry of entries) await collect(entry, found);
  return found;
}

/** `{file, name}` of chosen files. */
export function named(files) {
  return [...files].map((file) => ({ file, name: file.webkitRelativePath || file.name }));
}

/** Stands for what can't be read: it gets its reason in its turn, and the others of the drop are graded. */
const UNREADABLE = { size: 0, slice: () => ({ arrayBuffer: () => Promise.reject(new Error("unreadable")) }) };

async function collect(entry, found) {
  const name = entry.fullPath.replace(/^\//, "");
  try {
    await (entry.isFile ? collectFile(entry, name, found) : collectFolder(entry, found));
  } catch {
    found.push({ file: UNREADABLE, name });
  }
}

async function collectFile(entry, name, found) {
  found.push({ file: await new Promise((resolve, reject) => entry.file(resolve, reject)), name });
}

async function collectFolder(entry, found) {
  const inside = (await children(entry)).filter(({ name }) => !name.startsWith("."));
  inside.sort((one, other) => (one.name < other.name ? -1 : 1));
  for (const child of inside) await collect(child, found);
}

async function children(folder) {
  const reader = folder.createReader();
  const all = [];
  // Browsers hand out a hundred at a time.
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return all;
    all.push(...some);
  }
}
