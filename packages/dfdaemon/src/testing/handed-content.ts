import type { Download__Output, DownloadTaskResponse } from "@damselfly/rpc";
import { LocalContent } from "../api/local-content.ts";
import { streamDownload } from "../api/stream-download.ts";
import { downloadMessage } from "./download-message.ts";
import { PIECE_LENGTH, TASK_ID, type FakeNode } from "./fake-cluster.ts";

/** What a node answers a program to which content itself is to be handed over, as `dfget -O -`. */
export function askForContent(
  node: FakeNode,
  options: {
    readonly fields?: Partial<Download__Output>;
    readonly localContent?: LocalContent;
    readonly signal?: AbortSignal;
  } = {},
): AsyncGenerator<DownloadTaskResponse, void, undefined> {
  const {
    fields,
    localContent = new LocalContent(2 ** 30),
    signal = new AbortController().signal,
  } = options;
  const download = downloadMessage({ needPieceContent: true, ...fields });
  const manager: Parameters<typeof streamDownload>[0] = {
    // As small as the pieces of tests are no user's may be.
    download: (request, until, call) =>
      node.manager.download(
        { ...request, taskId: TASK_ID, pieceLength: PIECE_LENGTH },
        until,
        call,
      ),
    prefetch: () => {},
  };
  return streamDownload(
    manager,
    { download },
    {
      hostId: "host",
      signal,
      outputAllowed: true,
      isTonic: false,
      isOurs: true,
      localContent,
      taken: async () => {},
    },
  );
}

export interface Handed {
  readonly startedCount: number;
  /** Since the last start. */
  readonly pieces: ReadonlyMap<number, Uint8Array>;
  readonly failure: unknown;
}

/** Takes all of it; no piece may come twice after one start. */
export async function take(
  responses: AsyncIterable<DownloadTaskResponse>,
  afterPiece: (count: number) => Promise<void> = async () => {},
): Promise<Handed> {
  let startedCount = 0;
  let failure: unknown;
  const pieces = new Map<number, Uint8Array>();
  try {
    for await (const response of responses) {
      if (response.downloadTaskStartedResponse) {
        startedCount += 1;
        pieces.clear();
      }
      const piece = response.downloadPieceFinishedResponse?.piece;
      if (!piece) continue;
      if (pieces.has(piece.number!)) throw new Error(`piece ${piece.number} came twice`);
      if (!(piece.content instanceof Uint8Array)) throw new Error("it came without its content");
      pieces.set(piece.number!, piece.content);
      await afterPiece(pieces.size);
    }
  } catch (error) {
    failure = error;
  }
  return { startedCount, pieces, failure };
}

export function assembled({ pieces }: Handed): Buffer {
  return Buffer.concat([...pieces].toSorted(([a], [b]) => a - b).map(([, bytes]) => bytes));
}
