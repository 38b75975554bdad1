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

async function collect(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.push({ file, name: entry.fullPath.replace(/^\//, "") });
    return;
  }
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
