// What must not be in the log of any process, whatever happens to it.

/** @returns `{ line, reason }` of each such line */
export function scanLog(text) {
  return text.split("\n").flatMap((line) => {
    if (line.startsWith("=== ")) return []; // our own notes
    const found = FORBIDDEN.find(([pattern]) => pattern.test(line));
    return found === undefined ? [] : [{ line, reason: found[1] }];
  });
}

const FORBIDDEN = [
  [/please report/i, "asks to be reported"],
  [/unhandled\s*(?:promise\s*)?rejection|UnhandledPromise/i, "unhandled rejection"],
  [/uncaught/i, "uncaught exception"],
  [/^\s+at .*:\d+:\d+\)?$/, "stack trace"],
  [/"stack":"[^"]*\\n\s*at /, "stack trace"],
  [/"type":"(?:TypeError|ReferenceError|SyntaxError|AssertionError)"/, "programming mistake"],
  [/FATAL ERROR|panicked at|Segmentation fault|double free|heap out of memory/i, "native abort"],
  [/MaxListenersExceededWarning|DeprecationWarning/, "warning of Node's own"],
];
