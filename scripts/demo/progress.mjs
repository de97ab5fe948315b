// What happens while it happens: a bar a node on a terminal, a line now and then elsewhere.
import {
  columns,
  cyan,
  dim,
  formatLength,
  formatRate,
  green,
  isTerminal,
  widthOf,
  yellow,
} from "./terminal.mjs";

const FRAME_MS = 100;
/** Between two lines of a log. */
const LINE_MS = 2000;
const BAR_WIDTH_MAX = 48;
/** What the rest of a bar's line takes. */
const LABELS_WIDTH = 48;
/** Nothing arriving anywhere for this long is a failure. */
const STALL_MS = 60_000;
const HIDE_CURSOR = "\u001b[?25l";
const SHOW_CURSOR = "\u001b[?25h";

/** Gives the terminal back as it was. Safe to call at any time. */
export function restoreTerminal() {
  if (isTerminal) process.stdout.write(SHOW_CURSOR);
}

/** The legend of the bars; empty where there are none. */
export function formatLegend() {
  return isTerminal
    ? `   ${yellow("▓")} ${dim("from the origin")}  ${green("█")} ${dim("from other nodes")}`
    : "";
}

/**
 * Shows how far the nodes are, until `done` settles.
 *
 * @param nodes - each with a `name`, and `metrics()` to ask how far it is
 * @param contentLength - tells the length of the file; `undefined` while nobody knows
 * @returns what `done` resolves with
 * @throws what `done` rejects with, or an Error if nothing arrives any more
 */
export async function showProgress(nodes, contentLength, done) {
  const view = new ProgressView(nodes, contentLength);
  let timer;
  try {
    const watching = new Promise((_, reject) => {
      timer = setInterval(() => {
        view.look().catch(reject);
      }, FRAME_MS);
    });
    return await Promise.race([done, watching]).finally(() => clearInterval(timer));
  } finally {
    await view.close();
  }
}

class ProgressView {
  #nodes;
  #contentLength;
  #startedAtMs = performance.now();
  #states;
  #looking = false;
  #linesDrawn = 0;
  #lineAtMs = performance.now();
  #sum = 0;
  #arrivedAtMs = performance.now();

  constructor(nodes, contentLength) {
    this.#nodes = nodes;
    this.#contentLength = contentLength;
    this.#states = nodes.map(() => ({ fromOrigin: 0, fromParents: 0, doneAtMs: undefined }));
    if (isTerminal) process.stdout.write(HIDE_CURSOR);
  }

  /** Asks every node, and shows what it says. */
  async look() {
    if (this.#looking) return;
    this.#looking = true;
    try {
      await Promise.all(this.#nodes.map((node, index) => this.#ask(node, this.#states[index])));
      this.#show();
      this.#assertProgress();
    } finally {
      this.#looking = false;
    }
  }

  async close() {
    // The bars end as they are at the end.
    await Promise.allSettled(
      this.#nodes.map((node, index) => this.#ask(node, this.#states[index])),
    );
    if (isTerminal) this.#draw();
    restoreTerminal();
  }

  async #ask(node, state) {
    const { fromOrigin, fromParents } = await node.metrics();
    Object.assign(state, { fromOrigin, fromParents });
    const length = this.#contentLength();
    if (length !== undefined && length > 0 && fromOrigin + fromParents >= length)
      state.doneAtMs ??= performance.now();
  }

  #assertProgress() {
    const sum = this.#states.reduce((total, state) => total + received(state), 0);
    const nowMs = performance.now();
    if (sum !== this.#sum) this.#arrivedAtMs = nowMs;
    this.#sum = sum;
    if (nowMs - this.#arrivedAtMs < STALL_MS) return;
    const length = this.#contentLength() ?? Infinity;
    const waiting = this.#nodes.filter((_, index) => received(this.#states[index]) < length);
    throw waiting[0].child.failure(
      `and ${waiting.length - 1} other nodes have received nothing for ${STALL_MS / 1000} s`,
    );
  }

  #show() {
    if (isTerminal) {
      this.#draw();
      return;
    }
    const nowMs = performance.now();
    if (nowMs - this.#lineAtMs < LINE_MS) return;
    this.#lineAtMs = nowMs;
    const seconds = Math.round((nowMs - this.#startedAtMs) / 1000);
    const shares = this.#nodes.map(
      ({ name }, index) =>
        `${name} ${formatPercent(received(this.#states[index]), this.#contentLength()).padStart(5)}`,
    );
    console.log(`  ${String(seconds).padStart(3)} s   ${shares.join("   ")}`);
  }

  #draw() {
    const up = this.#linesDrawn === 0 ? "" : `\u001b[${this.#linesDrawn}A`;
    const lines = this.#nodes.map((node, index) => this.#line(node, this.#states[index]));
    process.stdout.write(up + lines.map((line) => `\r\u001b[2K${line}\n`).join(""));
    this.#linesDrawn = lines.length;
  }

  #line({ name }, state) {
    const length = this.#contentLength();
    const bytes = received(state);
    const seconds = ((state.doneAtMs ?? performance.now()) - this.#startedAtMs) / 1000;
    const width = Math.max(8, Math.min(BAR_WIDTH_MAX, columns() - LABELS_WIDTH));
    const cells = (part) => (length ? Math.floor((Math.min(part, length) * width) / length) : 0);
    const origin = cells(state.fromOrigin);
    const filled = cells(bytes);
    const bar =
      yellow("▓".repeat(origin)) +
      green("█".repeat(filled - origin)) +
      dim("░".repeat(width - filled));
    const percent = formatPercent(bytes, length).padStart(5);
    const amount = (bytes === 0 ? "" : formatLength(bytes)).padStart(9);
    const rate = (bytes === 0 ? "" : formatRate(bytes, seconds)).padStart(11);
    const text = `  ${name.padEnd(7)} ${bar} ${percent} ${amount} ${cyan(rate)}`;
    // A line that wraps would be drawn over by half.
    return widthOf(text) < columns() ? text : `  ${name} ${percent}`;
  }
}

function received({ fromOrigin, fromParents }) {
  return fromOrigin + fromParents;
}

function formatPercent(bytes, length) {
  return length === undefined || length === 0 ? "0 %" : `${Math.floor((100 * bytes) / length)} %`;
}
