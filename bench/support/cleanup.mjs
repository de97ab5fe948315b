// What must be undone however the bench ends: by itself, by an error or by a signal.
const EXIT_CODES = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 };
const undos = [];

/**
 * Calls `undo` when the process ends, the latest first, unless the returned function has been called before: it undoes at once.
 *
 * @param undo - must not wait for anything: it may run in the last moment
 */
export function undoAtExit(undo) {
  undos.push(undo);
  return () => {
    const index = undos.indexOf(undo);
    if (index === -1) return;
    undos.splice(index, 1);
    undo();
  };
}

process.on("exit", () => {
  while (undos.length > 0) {
    try {
      undos.pop()();
    } catch (error) {
      console.error(`Cannot clean up: ${error.message}`);
    }
  }
});
for (const [signal, code] of Object.entries(EXIT_CODES)) {
  process.on(signal, () => process.exit(code));
}
