import {
  formatClock,
  formatDuration,
  formatLength,
  formatLengthOf,
  formatPercent,
  formatRate,
} from "./format-quantities.ts";
import { printable } from "./printable.ts";
import type { TransferState } from "./transfer-tally.ts";

/** What a progress line shows. */
export interface ProgressView {
  /** Name of the output. */
  readonly label: string;
  readonly state: TransferState;
  /** Bytes per second. */
  readonly rate: number;
}

/** What is waited for. */
export interface WaitView {
  readonly description: string;
  /** For how long so far. */
  readonly elapsedMs: number;
  /** When something else is done about it, at the latest, from the beginning on; 0: not known. */
  readonly boundMs: number;
}

export interface BarStyle {
  /** Columns of the terminal. The line never fills the last one, which would make some terminals wrap. */
  readonly columns: number;
  readonly unicode: boolean;
  readonly color: boolean;
}

/**
 * One line: name, per cent, bar, bytes, rate, time left, sources. On a narrow terminal the sources go first, then the time left, then the bar;
 * the name is shortened last.
 */
export function formatBar(view: ProgressView, style: BarStyle): string {
  const { state, rate } = view;
  const room = Math.max(10, style.columns - 1);
  const percent = formatPercent(state.done, state.length).padStart(4);
  const bytes = formatLengthOf(state.done, state.length);
  const left = formatClock(((state.length - state.done) * 1000) / rate);
  const fields = [
    [percent, bytes, formatRate(rate), left, formatShares(state)],
    [percent, bytes, formatRate(rate), left],
    [percent, bytes, formatRate(rate)],
    [percent, bytes],
    [percent],
  ];
  const nameLength = Math.min(characters(printable(view.label)).length, NAME_LENGTH_MAX);
  for (const chosen of fields) {
    const texts = chosen.filter((text) => text !== "");
    const used = texts.reduce((sum, text) => sum + 2 + characters(text).length, 0);
    const barLength = Math.min(BAR_LENGTH_MAX, room - nameLength - used - 2);
    const [first = "", ...rest] = texts;
    if (barLength >= BAR_LENGTH_MIN) {
      return [
        shorten(view.label, nameLength),
        first,
        drawBar(state, barLength, style),
        ...rest,
      ].join("  ");
    }
  }
  return `${shorten(view.label, room - 6)}  ${percent}`;
}

/** `waiting: the scheduler has not answered for 12 s (until 43 s)`. */
export function formatWait({ description, elapsedMs, boundMs }: WaitView): string {
  const seconds = (ms: number): number => Math.round(ms / 1000);
  // What takes longer than it should has no end that could be told.
  const until = boundMs > elapsedMs ? ` (until ${seconds(boundMs)} s)` : "";
  return `waiting: ${printable(description)} for ${seconds(elapsedMs)} s${until}`;
}

/** One line in the place of the bar: name, per cent if it has begun, and what is waited for. */
export function formatWaitBar(
  view: {
    readonly label: string;
    readonly state: TransferState | undefined;
    readonly wait: WaitView;
  },
  style: Pick<BarStyle, "columns">,
): string {
  const { label, state, wait } = view;
  const room = Math.max(10, style.columns - 1);
  const name = shorten(label, Math.min(characters(printable(label)).length, NAME_LENGTH_MAX));
  const percent =
    state === undefined ? "" : `  ${formatPercent(state.done, state.length).padStart(4)}`;
  const line = characters(`${name}${percent}  ${formatWait(wait)}`);
  return line.length <= room ? line.join("") : `${line.slice(0, room - 1).join("")}…`;
}

/** Likewise, for logs. */
export function formatWaitLine(view: {
  readonly label: string;
  readonly state: TransferState | undefined;
  readonly wait: WaitView;
}): string {
  const { label, state, wait } = view;
  const percent = state === undefined ? "" : `${formatPercent(state.done, state.length)}, `;
  return `${printable(label)}: ${percent}${formatWait(wait)}`;
}

/** How far it is, without a bar, for logs: complete, and never longer than it must be. */
export function formatProgressLine(view: ProgressView): string {
  const { state, rate } = view;
  const left = rate > 0 ? `, ${formatClock(((state.length - state.done) * 1000) / rate)} left` : "";
  const shares = formatShares(state);
  const percent = formatPercent(state.done, state.length);
  return `${printable(view.label)}: ${percent} (${formatLengthOf(state.done, state.length)}), ${formatRate(rate)}${left}${shares === "" ? "" : `, ${shares}`}`;
}

/** `origin 40% · 3 peers 60%`; empty while nothing has arrived. */
export function formatShares(state: TransferState): string {
  const fromParents = sumOfParents(state);
  const count = state.fromParents.length;
  return [
    state.fromLocal > 0 ? `on disk ${formatPercent(state.fromLocal, state.done)}` : "",
    state.fromOrigin > 0 ? `origin ${formatPercent(state.fromOrigin, state.done)}` : "",
    fromParents > 0
      ? `${count} ${count === 1 ? "peer" : "peers"} ${formatPercent(fromParents, state.done)}`
      : "",
  ]
    .filter((text) => text !== "")
    .join(" · ");
}

/** The closing line: `model.bin: 1.0 GiB in 3.20 s (320 MiB/s): 40% from the origin, 60% from 2 peers (10.0.0.1-a 512 MiB, …)`. */
export function formatSummary(view: {
  readonly label: string;
  readonly state: TransferState;
  readonly durationMs: number;
}): string {
  const { state, durationMs } = view;
  const rate = durationMs > 0 ? ` (${formatRate((state.length * 1000) / durationMs)})` : "";
  const head = `${printable(view.label)}: ${formatLength(state.length)} in ${formatDuration(durationMs)}${rate}`;
  if (state.length === 0) return `${head}: an empty file`;
  if (state.fromLocal === state.length) return `${head}: it was on disk already`;
  const fromParents = sumOfParents(state);
  const count = state.fromParents.length;
  const shares = [
    state.fromLocal > 0 ? `${formatPercent(state.fromLocal, state.length)} already on disk` : "",
    state.fromOrigin > 0 ? `${formatPercent(state.fromOrigin, state.length)} from the origin` : "",
    fromParents > 0
      ? `${formatPercent(fromParents, state.length)} from ${count} ${count === 1 ? "peer" : "peers"} (${formatParents(state)})`
      : "",
  ];
  return `${head}: ${shares.filter((text) => text !== "").join(", ")}`;
}

function formatParents({ fromParents }: TransferState): string {
  const named = fromParents
    .slice(0, PARENTS_NAMED_MAX)
    .map(([host, length]) => `${printable(host)} ${formatLength(length)}`);
  const others = fromParents.length - named.length;
  return [...named, ...(others > 0 ? [`${others} more`] : [])].join(", ");
}

function sumOfParents({ fromParents }: TransferState): number {
  return fromParents.reduce((sum, [, length]) => sum + length, 0);
}

function drawBar(state: TransferState, length: number, { unicode, color }: BarStyle): string {
  const share = state.length === 0 ? 1 : state.done / state.length;
  const filled = Math.min(length, Math.floor(share * length));
  const [full, head, empty] = unicode ? ["━", "╸", "─"] : ["=", ">", " "];
  const hasHead = filled < length;
  const done = full.repeat(filled) + (hasHead ? head : "");
  const open = empty.repeat(length - filled - (hasHead ? 1 : 0));
  if (color) return `\u001b[36m${done}\u001b[90m${open}\u001b[39m`;
  return done + open;
}

/** Keeps the end of a name that is too long: it tells files apart more often than the beginning. */
function shorten(label: string, length: number): string {
  const all = characters(printable(label));
  return all.length <= length
    ? all.join("")
    : `…${all.slice(all.length - Math.max(0, length - 1)).join("")}`;
}

/** Code points, taken for one column each: wide ones make the line longer, and nothing worse. */
function characters(text: string): string[] {
  return Array.from(text);
}

const NAME_LENGTH_MAX = 32;
const BAR_LENGTH_MAX = 40;
const BAR_LENGTH_MIN = 10;
/** In the closing line. */
const PARENTS_NAMED_MAX = 8;
