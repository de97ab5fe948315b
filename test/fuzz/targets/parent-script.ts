import type { Downloader, ParentAddress, PieceRequest } from "@damselfly/transport";
import { type TransportErrorCode, TransportError } from "@damselfly/transport";
import { encodePacket, ErrorCode, PacketDecoder, Tag, VortexError } from "@damselfly/vortex";
import { ChoiceWriter, type Choices } from "../engine/choices.ts";
import { assertHolds } from "../engine/fuzz-target.ts";
import { describePiece, PIECES, TASK_ID } from "./pieces.ts";

/** Where a hostile parent writes its answer. */
export interface AnswerSink {
  write(bytes: Uint8Array): Promise<void>;
  end(): Promise<void>;
  reset(): void;
  /** With all that runs on it. */
  closeConnection(): void;
}

/** An answer as it went out. */
export interface SentAnswer {
  readonly bytes: Buffer[];
}

const STEP_COUNT_MAX = 12;

/** Answers one request as the choices say; nobody has to have asked for it. Leaves the stream open where they say so. */
export async function playAnswer(
  choices: Choices,
  pieceNumber: number,
  sink: AnswerSink,
): Promise<void> {
  for (let step = 0; step < STEP_COUNT_MAX; step++) {
    // What is not said is a good end.
    const kind = choices.isOver ? 6 : choices.below(12);
    if (kind <= 1) await sink.write(encodeAnnouncement(choices, pieceNumber));
    else if (kind <= 3) await sink.write(contentPart(choices, pieceNumber));
    else if (kind === 4) await sink.write(choices.block());
    else if (kind === 5) await sink.write(encodeRefusal(choices));
    else if (kind === 6) {
      await sink.end();
      break;
    } else if (kind === 7) {
      sink.reset();
      break;
    } else if (kind === 8) {
      sink.closeConnection();
      break;
    } else if (kind === 9) {
      break; // and nothing more comes
    } else {
      for (let turn = choices.below(4); turn >= 0; turn--) await new Promise(setImmediate);
    }
  }
}

function encodeAnnouncement(choices: Choices, pieceNumber: number): Uint8Array {
  const { offset, length, digest } = describePiece(pieceNumber);
  const lie = choices.below(16);
  const packet = encodePacket({
    kind: "content",
    id: 1,
    tag: lie === 1 ? Tag.CachePieceContent : Tag.PieceContent,
    pieceNumber: lie === 2 ? choices.u32() : pieceNumber,
    offset: lie === 3 ? choices.u32() * 65_536 : offset,
    length: lie === 4 ? choices.u32() : lie === 5 ? Math.max(0, length - 1) : length,
    digest: lie === 6 ? Buffer.from(choices.block()).toString("latin1") : digest,
    parentId: "",
    trafficType: 1,
    costSeconds: 0,
    createdAtSeconds: 0,
  });
  if (lie !== 7) return packet;
  const bent = Buffer.from(packet);
  bent[choices.below(bent.byteLength)] = choices.byte();
  return bent;
}

function contentPart(choices: Choices, pieceNumber: number): Uint8Array {
  const bytes = PIECES[pieceNumber] ?? Buffer.alloc(0);
  const isWhole = choices.below(2) === 0;
  const at = isWhole ? 0 : choices.u16();
  return bytes.subarray(at, isWhole ? undefined : at + choices.u16());
}

function encodeRefusal(choices: Choices): Uint8Array {
  const code = choices.pick([...Object.values(ErrorCode), 200]);
  const message = Buffer.from(choices.block()).toString("latin1");
  return encodePacket({ kind: "error", id: 1, tag: Tag.Error, code, message });
}

const CODES: ReadonlySet<TransportErrorCode> = new Set<TransportErrorCode>([
  "ERR_PARENT_UNREACHABLE",
  "ERR_PARENT_BUSY",
  "ERR_PIECE_NOT_FOUND",
  "ERR_PARENT_FAILED",
  "ERR_PIECE_TRUNCATED",
  "ERR_PARENT_STALLED",
  "ERR_PROTOCOL",
]);

/** What a child asks of a hostile parent. */
export function decodeQuestion(choices: Choices): PieceRequest {
  const pieceNumber = choices.below(PIECES.length);
  if (choices.below(4) !== 3) return { taskId: TASK_ID, pieceNumber };
  const range = { offset: choices.u16(), length: 1 + choices.u16() };
  return { taskId: TASK_ID, pieceNumber, range };
}

/**
 * Downloads a piece: a `TransportError` with a code that is listed, or exactly as many bytes as the announcement says, those that the
 * parent has sent behind it.
 *
 * @param sentSoFar what has been sent in answer to this request; more than one answer where the piece was asked for in parts
 */
export async function downloadFrom(
  downloader: Downloader,
  parent: ParentAddress,
  request: PieceRequest,
  sentSoFar: () => readonly SentAnswer[],
): Promise<void> {
  const chunks: Buffer[] = [];
  let announced;
  try {
    await using download = await downloader.downloadPiece(parent, request);
    announced = download.piece;
    for await (const chunk of download.content) chunks.push(Buffer.from(chunk));
  } catch (error) {
    if (!(error instanceof TransportError)) throw error;
    assertHolds(CODES.has(error.code), () => `the code is ${error.code}`);
    assertHolds(error.message.startsWith("Cannot "), () => `the message is ${error.message}`);
    return;
  }
  const content = Buffer.concat(chunks);
  const { offset = 0, length = Number.MAX_SAFE_INTEGER } = request.range ?? {};
  const expected = Math.min(length, Math.max(0, announced.length - offset));
  assertHolds(
    content.byteLength === expected,
    () => `${content.byteLength} bytes came, ${expected} were announced`,
  );
  const [first, ...others] = sentSoFar();
  if (first === undefined || others.length > 0) return;
  assertHolds(
    contentOf(first).subarray(0, expected).equals(content),
    "the bytes are not those behind the announcement",
  );
}

function contentOf({ bytes }: SentAnswer): Buffer {
  try {
    const decoded = new PacketDecoder().push(Buffer.concat(bytes));
    return Buffer.from(decoded?.rest ?? []);
  } catch (error) {
    if (error instanceof VortexError) return Buffer.alloc(0);
    throw error;
  }
}

/** A question, then an answer: numbers are those of `playAnswer`. */
const good = (piece: number): ChoiceWriter => new ChoiceWriter().byte(piece).byte(0);

export const PARENT_EXAMPLES: readonly Uint8Array[] = [
  good(0).byte(0).byte(0).finish(),
  good(1).byte(0).byte(0).byte(2).byte(0).finish(),
  good(3).byte(0).byte(0).byte(2).byte(0).finish(),
  good(4).byte(0).byte(0).byte(2).byte(0).finish(),
  new ChoiceWriter()
    .byte(3)
    .byte(3)
    .u16(100)
    .u16(999)
    .byte(0)
    .byte(0)
    .byte(3)
    .byte(1)
    .u16(100)
    .u16(1_000)
    .finish(),
  good(2).byte(0).byte(5).byte(2).byte(0).finish(),
  good(2).byte(0).byte(4).u32(2_000).byte(2).byte(0).finish(),
  good(2).byte(0).byte(4).u32(5_000_000).byte(2).byte(0).byte(9).finish(),
  good(2).byte(0).byte(2).u32(9).byte(2).byte(0).finish(),
  good(2).byte(0).byte(7).byte(30).byte(255).byte(2).byte(0).finish(),
  good(2).byte(5).byte(2).block(Buffer.from("none")).finish(),
  good(2).byte(4).block(Buffer.from("rubbish, and more of it")).finish(),
  good(3).byte(0).byte(0).byte(3).byte(1).u16(0).u16(5_000).byte(6).finish(),
  good(3).byte(0).byte(0).byte(3).byte(1).u16(0).u16(5_000).byte(7).finish(),
  good(3).byte(0).byte(0).byte(3).byte(1).u16(0).u16(5_000).byte(8).finish(),
  good(3).byte(0).byte(0).byte(3).byte(1).u16(0).u16(5_000).byte(9).finish(),
  good(2).byte(0).byte(0).byte(2).byte(0).byte(2).byte(0).finish(),
];
