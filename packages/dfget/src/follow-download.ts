import { DfgetError } from "./errors.ts";
import type { DaemonPiece, DaemonResponse, DaemonWait } from "./message-codec.ts";
import type { RequestedRange } from "./options.ts";
import type { PieceSink } from "./piece-sink.ts";
import { type PieceShare, planTransfer, type TransferPlan } from "./transfer-plan.ts";
import { type PieceOrigin, TransferTally } from "./transfer-tally.ts";

/** What somebody who watches a download learns. */
export interface DownloadListener {
  /** Comes once, or again with a new plan if the origin changed the file half-way: what came before then counts no more. */
  started(task: {
    readonly taskId: string;
    readonly peerId: string;
    readonly plan: TransferPlan;
    readonly tally: TransferTally;
    readonly carriesContent: boolean;
    /** The daemon makes the output appear complete, or not at all. */
    readonly atomicOutput: boolean;
  }): void;
  /** A piece has arrived; the tally knows it. */
  advanced(): void;
  /** What the daemon waits for now; undefined: something moves again. May come before the start. */
  waiting(wait: DaemonWait | undefined): void;
}

/**
 * Follows one DownloadTask call to its end: counts the pieces, and writes those that carry content. Resolves when every byte
 * has arrived and the sink is finished. The sink is disposed in any case.
 *
 * @throws {DfgetError} `ERR_INCOMPLETE`, `ERR_PROTOCOL`, `ERR_RANGE`, what the sink throws; and whatever `responses` throws
 */
export async function followDownload(
  responses: AsyncIterable<DaemonResponse>,
  options: {
    readonly range: RequestedRange | undefined;
    /** Absent: the daemon writes the output. Called at every start. */
    readonly openSink: ((plan: TransferPlan) => Promise<PieceSink>) | undefined;
    readonly listener: DownloadListener;
  },
): Promise<void> {
  const { range, openSink, listener } = options;
  let plan: TransferPlan | undefined;
  let tally: TransferTally | undefined;
  let sink: PieceSink | undefined;
  try {
    for await (const {
      taskId,
      peerId,
      downloadTaskStartedResponse: started,
      downloadPieceFinishedResponse: finished,
      wait,
    } of responses) {
      if (wait !== undefined) {
        listener.waiting(wait.reason === "" ? undefined : wait);
      } else if (started) {
        await sink?.discard();
        sink = undefined;
        plan = planTransfer(started, range);
        tally = new TransferTally(plan);
        sink = await openSink?.(plan);
        const { atomicOutput } = started;
        const carriesContent = openSink !== undefined;
        listener.started({ taskId, peerId, plan, tally, carriesContent, atomicOutput });
      } else if (finished?.piece) {
        if (plan === undefined || tally === undefined)
          throw protocolError("a piece came before the start");
        const { piece } = finished;
        const share = plan.pieces.get(piece.number);
        if (share === undefined || !tally.missing.has(piece.number)) continue;
        if (sink !== undefined) await sink.write(share.offset, contentOf(piece, share));
        tally.add(piece.number, originOf(piece));
        listener.advanced();
      }
    }
    if (tally === undefined)
      throw new DfgetError(
        "ERR_INCOMPLETE",
        "Download incomplete: the daemon ended the call before it began",
      );
    if (tally.missing.size > 0) throw new DfgetError("ERR_INCOMPLETE", formatMissing(tally));
    await sink?.finish();
  } finally {
    await sink?.[Symbol.asyncDispose]();
  }
}

/** The part of the piece's content that was asked for. */
function contentOf(
  { number, content }: DaemonPiece,
  { pieceLength, skip, length }: PieceShare,
): Uint8Array {
  if (content === undefined) throw protocolError(`piece ${number} came without its content`);
  if (content.byteLength !== pieceLength) {
    throw protocolError(
      `piece ${number} came with ${content.byteLength} bytes, ${pieceLength} were announced`,
    );
  }
  return content.subarray(skip, skip + length);
}

function originOf({ trafficType, parentId }: DaemonPiece): PieceOrigin {
  if (trafficType === "LOCAL_PEER") return { kind: "local" };
  if (trafficType === "REMOTE_PEER") return { kind: "parent", peerId: parentId ?? "unnamed peer" };
  return { kind: "origin" };
}

function formatMissing({ missing, state }: TransferTally): string {
  const named = [...missing].slice(0, 10).join(", ");
  return `Download incomplete: the daemon says that it is done, and ${missing.size} of ${state.pieceCount} pieces are missing (${named}${missing.size > 10 ? ", …" : ""})`;
}

function protocolError(what: string): DfgetError {
  return new DfgetError("ERR_PROTOCOL", `Cannot follow the daemon: ${what}`);
}
