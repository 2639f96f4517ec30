// Several files: what was chosen or dropped, with paths, and what is said of them as CSV.

/** The files of an input: [{file, path}]; with a folder's name in the path where it was chosen. */
export function chosenFiles(input) {
  return Array.from(input.files, (file) => ({file, path: file.webkitRelativePath || file.name}));
}

/** The files that were dropped, those in folders as well, as `chosenFiles` gives them. */
export async function droppedFiles(transfer) {
  const entries = Array.from(transfer.items, (item) => item.webkitGetAsEntry());  // before any pause
  return (await Promise.all(entries.filter(Boolean).map(below))).flat();
}

async function below(entry) {
  const ask = (call) => new Promise((resolve, reject) => call(resolve, reject));
  if (entry.isFile) {
    return [{file: await ask((...ends) => entry.file(...ends)), path: entry.fullPath.slice(1)}];
  }
  const reader = entry.createReader(), files = [];
  for (;;) {  // it gives some at a time, in the end none
    const entries = await ask((...ends) => reader.readEntries(...ends));
    if (!entries.length) return files;
    for (const each of entries) files.push(...await below(each));
  }
}

/** Divide files as `dslite predict` does: of a folder's, those that are called audio, not hidden. */
export function divided(files, suffixes) {
  const visible = files.filter(({path}) => !path.includes('/.'));
  const audio = visible.filter(({path}) =>
    !path.includes('/') || suffixes.some((suffix) => path.toLowerCase().endsWith(suffix)));
  return {audio: audio.sort((a, b) => a.path < b.path ? -1 : 1), others: visible.length - audio.length};
}

/** A line of CSV; what a spreadsheet would compute gets an apostrophe, see dslite.provenance.quoted. */
export function csvLine(cells) {
  const number = /^[+-](\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$|^[+-](inf|infinity|nan)\s*$/i;
  return `${cells.map((cell) => {
    const bare = cell.replace(/^'+/, '');
    const text = /^[=+\-@\t\r][^]/.test(bare) && !number.test(bare) ? `'${cell}` : cell;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }).join()}\n`;
}
