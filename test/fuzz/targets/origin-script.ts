import { Choices } from "../engine/choices.ts";

/** How a connection goes on after an answer. */
export type AnswerEnd = "keep" | "close" | "reset" | "stall";

/** One answer of an origin, as an input has it. */
export interface ScriptedAnswer {
  /** `honest`: what a good origin says; `bent`: that with bytes of its header changed; `raw`: any bytes whatever. */
  readonly kind: "honest" | "bent" | "raw";
  readonly statusCode: number;
  /** Of the content: bytes of two versions are never alike. */
  readonly version: number;
  readonly framing: "length" | "chunked" | "close";
  /** Whether the answer heeds Range and If-Range. */
  readonly takesRanges: boolean;
  /** Changes of the header's bytes: where, and to what. */
  readonly edits: readonly { readonly at: number; readonly replacement: Uint8Array }[];
  /** Of a `raw` answer. */
  readonly bytes: Uint8Array;
  /** Body bytes after which it stops; undefined: it does not. */
  readonly cutAt: number | undefined;
  /** Lengths of what is sent at a time. */
  readonly chunkLength: number;
  readonly end: AnswerEnd;
  /** Of a redirect. */
  readonly location: string;
}

export type OriginStep =
  | { readonly do: "stat" }
  | { readonly do: "readAll" }
  | { readonly do: "readRange"; readonly offset: number; readonly length: number };

/** What is asked of an origin, and what it answers, one answer after the other. */
export interface OriginScript {
  readonly steps: readonly OriginStep[];
  readonly answers: readonly ScriptedAnswer[];
}

const STATUS_CODES = [
  200, 206, 200, 206, 302, 307, 404, 416, 500, 503, 204, 304, 100, 101, 429, 203,
];
const LOCATIONS = [
  "/there",
  "",
  "//other/x",
  "http://other.invalid/",
  "?q",
  "https://x/",
  "ftp://x/",
  "//",
];
const ENDS: readonly AnswerEnd[] = [
  "keep",
  "keep",
  "keep",
  "close",
  "close",
  "reset",
  "keep",
  "stall",
];
const STEP_COUNT_MAX = 4;
const ANSWER_COUNT_MAX = 8;

/** Any bytes are a script. */
export function decodeScript(input: Uint8Array, contentLength: number): OriginScript {
  const choices = new Choices(input);
  const steps = Array.from({ length: 1 + choices.below(STEP_COUNT_MAX) }, () =>
    decodeStep(choices, contentLength),
  );
  const answers: ScriptedAnswer[] = [];
  while (!choices.isOver && answers.length < ANSWER_COUNT_MAX) answers.push(decodeAnswer(choices));
  return { steps, answers };
}

function decodeStep(choices: Choices, contentLength: number): OriginStep {
  switch (choices.below(4)) {
    case 0:
      return { do: "stat" };
    case 1:
      return { do: "readAll" };
    default: {
      const offset = choices.below(contentLength);
      const length = 1 + choices.below(contentLength - offset);
      return { do: "readRange", offset, length };
    }
  }
}

function decodeAnswer(choices: Choices): ScriptedAnswer {
  const kind = choices.pick(["honest", "honest", "bent", "raw"] as const);
  const traits = choices.byte();
  const cut = choices.u16();
  const edits = Array.from({ length: kind === "bent" ? 1 + choices.below(4) : 0 }, () => ({
    at: choices.u16(),
    replacement: choices.block().subarray(0, 64),
  }));
  return {
    kind,
    statusCode: choices.pick(STATUS_CODES),
    version: traits & 1,
    framing: (["length", "chunked", "close", "length"] as const)[(traits >> 1) & 3] ?? "length",
    takesRanges: ((traits >> 3) & 3) !== 3,
    edits,
    bytes: kind === "raw" ? choices.block() : new Uint8Array(0),
    cutAt: cut % 4 === 1 ? cut >> 2 : undefined,
    chunkLength: [65_536, 1000, 100, 17][(traits >> 5) & 3] ?? 65_536,
    end: choices.pick(ENDS),
    location: choices.pick(LOCATIONS),
  };
}
