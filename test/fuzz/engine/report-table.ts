import type { FuzzOutcome } from "./run-worker.ts";

export interface ReportRow {
  readonly target: string;
  /** What the count counts: `datagrams`. */
  readonly unit: string;
  readonly outcome: FuzzOutcome;
}

const COLUMNS = [
  "target",
  "count",
  "of",
  "a second",
  "inputs",
  "blocks",
  "kept",
  "failures",
  "RSS MiB",
];

/** A plain table: how much was run, what was found, and the process's memory at the start, after a quarter and at the end. */
export function formatReport(rows: readonly ReportRow[]): string {
  const cells = [COLUMNS, ...rows.map(toCells)];
  const widths = COLUMNS.map((_, column) =>
    Math.max(...cells.map((row) => row[column]?.length ?? 0)),
  );
  return cells
    .map((row) =>
      row
        .map((cell, column) => {
          const width = widths[column] ?? 0;
          return column === 0 || column === 2 ? cell.padEnd(width) : cell.padStart(width);
        })
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

function toCells({ target, unit, outcome }: ReportRow): string[] {
  const { progress, seconds, failures, memory } = outcome;
  const { inputCount, unitCount, blockCount, keptCount } = progress;
  const samples = [memory[0], memory[Math.floor(memory.length / 4)], memory.at(-1)];
  return [
    target,
    formatCount(unitCount),
    unit,
    formatCount(Math.round(unitCount / Math.max(seconds, 0.001))),
    formatCount(inputCount),
    blockCount === 0 ? "-" : formatCount(blockCount),
    blockCount === 0 ? "-" : formatCount(keptCount),
    String(failures.length),
    samples.map((sample) => ((sample?.rss ?? 0) / 2 ** 20).toFixed(0)).join(" "),
  ];
}

/** With a comma at each thousand, whatever the machine's language. */
function formatCount(count: number): string {
  return String(count).replaceAll(/\B(?=(\d{3})+$)/g, ",");
}
