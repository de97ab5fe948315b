// How long daemons were without a data-plane process that had ended, from their logs.

/** @returns milliseconds from each end to when another one served, pauses before the restart included */
export function readReplacements(text) {
  const replacedMs = [];
  const endedMs = new Map();
  for (const line of text.split("\n")) {
    // Our own notes: the daemon itself was killed, or started anew.
    if (line.startsWith("=== ")) endedMs.clear();
    const { msg, time, worker } = parseLine(line);
    if (msg === undefined || worker === undefined) continue;
    if (/^data-plane process \d+ .*: another one is started /.test(msg)) {
      if (!endedMs.has(worker)) endedMs.set(worker, time);
    } else if (/^data-plane process \d+ serves$/.test(msg) && endedMs.has(worker)) {
      replacedMs.push(time - endedMs.get(worker));
      endedMs.delete(worker);
    }
  }
  return replacedMs;
}

function parseLine(line) {
  try {
    return line.startsWith("{") ? JSON.parse(line) : {};
  } catch {
    return {}; // cut off by the kill
  }
}
