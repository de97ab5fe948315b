// Which bytes of a file a request asks for.

/**
 * One range, as `Range` has it.
 *
 * @returns `{ from, end }`, `end` not included; "unsatisfiable"; or undefined: the whole file
 */
export function parseRange(header, length) {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(header ?? "") ?? [];
  if (first === undefined || (first === "" && last === "")) return undefined;
  const from = first === "" ? Math.max(0, length - Number(last)) : Number(first);
  const end = first === "" || last === "" ? length : Math.min(Number(last) + 1, length);
  return from < end ? { from, end } : "unsatisfiable";
}
