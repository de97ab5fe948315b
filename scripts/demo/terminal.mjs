// How the demo looks: colours where they are wanted, tables, lengths and rates.

const { env, stdout } = process;

/** Whether lines can be drawn over. */
export const isTerminal = stdout.isTTY && env.TERM !== "dumb";
// See no-color.org.
const isColorful = isTerminal && (env.NO_COLOR ?? "") === "";

export const bold = (text) => paint(1, text);
export const dim = (text) => paint(2, text);
export const red = (text) => paint(31, text);
export const green = (text) => paint(32, text);
export const yellow = (text) => paint(33, text);
export const cyan = (text) => paint(36, text);

function paint(code, text) {
  return isColorful && text !== "" ? `\u001b[${code}m${text}\u001b[0m` : text;
}

export function columns() {
  return stdout.columns ?? 100;
}

/** Columns that a text takes, colours taking none. */
export function widthOf(text) {
  // oxlint-disable-next-line no-control-regex -- that is what colours are made of
  return text.replaceAll(/\u001b\[\d+m/g, "").length;
}

/** A table whose first and last columns start at their left, all others end at their right. */
export function formatTable(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => widthOf(row[column]))));
  return rows.map((row) => {
    const cells = row.map((cell, column) => {
      const space = " ".repeat(widths[column] - widthOf(cell));
      return column === 0 || column === row.length - 1 ? cell + space : space + cell;
    });
    return `  ${cells.join("   ")}`.trimEnd();
  });
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** The unit for a table about a file of this length: whole numbers say enough in it. */
export function tableUnitOf(length) {
  return unitOf(length, 10_000);
}

/** `256`, or `0.8` where a whole number would say too little. */
export function formatIn(unit, length) {
  const value = length / unit.length;
  return Number.isInteger(value) || value >= 100 ? value.toFixed(0) : value.toFixed(1);
}

/** `256 MiB`, `1.25 GiB`. */
export function formatLength(length) {
  const unit = unitOf(length, 1024);
  const value = length / unit.length;
  const digits = unit.length === 1 ? 0 : Math.max(0, 3 - String(Math.floor(value)).length);
  return `${value.toFixed(digits)} ${unit.name}`;
}

/** The largest unit in which a length has not gone below 1, once it is `limit` in the one below. */
function unitOf(length, limit) {
  let exponent = 0;
  while (length >= limit && exponent < UNITS.length - 1) {
    length /= 1024;
    exponent += 1;
  }
  return { name: UNITS[exponent], length: 1024 ** exponent };
}

export function formatRate(length, seconds) {
  return seconds > 0 ? `${formatLength(Math.round(length / seconds))}/s` : "";
}

export function formatSeconds(seconds) {
  return `${seconds.toFixed(seconds < 100 ? 2 : 0)} s`;
}
