import type { ContentFiles } from "@damselfly/storage";
import { countBytes } from "../../../count-bytes.ts";
import { DaemonError } from "../../../errors.ts";
import type { Origin, OriginStat } from "../../../origins/origin.ts";
import type { ContentLimits } from "../../content-limits.ts";
import { createContentStream, type LocalContentStream } from "../../content-stream.ts";
import type { PieceTransports } from "../../piece-transports.ts";
import {
  type Announcement,
  HedgedPiece,
  type HedgeObserver,
  NO_HEDGING,
} from "../../relay/hedged-piece.ts";
import { timeWaits } from "../../time-waits.ts";
import { encodeFault } from "../link/fault.ts";
import type { Link } from "../link/link.ts";
import type { ControlMethods, WorkerMethods } from "../protocol.ts";
import type { ProgressReporter } from "./progress-reporter.ts";

type Params<Name extends keyof WorkerMethods> = Parameters<WorkerMethods[Name]>[0];

interface OpenContent {
  readonly stream: LocalContentStream;
  /** Ends the transfer. */
  readonly abort: AbortController;
  readonly close: () => PromiseLike<void>;
}

/** The contents that the control process has asked for: pieces of parents, bodies of origins, spools; each until it is closed. */
export class ContentDesk implements AsyncDisposable {
  readonly #transports: PieceTransports;
  readonly #origin: Origin;
  readonly #files: ContentFiles;
  readonly #progress: ProgressReporter;
  readonly #limits: ContentLimits;
  readonly #link: Pick<Link<ControlMethods, WorkerMethods>, "call" | "note">;
  readonly #contents = new Map<number, OpenContent>();
  /** Those contents that are pieces, also while they are being opened. */
  readonly #pieces = new Map<number, HedgedPiece>();

  constructor(parts: {
    readonly transports: PieceTransports;
    readonly origin: Origin;
    readonly files: ContentFiles;
    readonly progress: ProgressReporter;
    readonly limits: ContentLimits;
    /** To whoever decides whom pieces are asked of. */
    readonly link: Pick<Link<ControlMethods, WorkerMethods>, "call" | "note">;
  }) {
    this.#transports = parts.transports;
    this.#origin = parts.origin;
    this.#files = parts.files;
    this.#progress = parts.progress;
    this.#limits = parts.limits;
    this.#link = parts.link;
  }

  async openPiece(
    { content, wanted, first, mayTry, isHedged }: Params<"openPiece">,
    signal: AbortSignal,
  ): Promise<Announcement> {
    const abort = new AbortController();
    try {
      const incoming = await whileOpening(abort, signal, () =>
        this.#limits.openPiece(wanted.length, abort.signal, async () => {
          const piece = new HedgedPiece({
            wanted,
            mayTry,
            transports: this.#transports,
            origin: this.#limits.limitOrigin(this.#origin),
            observer: isHedged ? this.#observerOf(content) : NO_HEDGING,
            signal: abort.signal,
          });
          this.#pieces.set(content, piece);
          await piece.open(first);
          return piece;
        }),
      );
      this.#add(content, incoming.content, abort, () => incoming[Symbol.asyncDispose]());
      return incoming.opened.announcement;
    } catch (error) {
      this.#pieces.delete(content);
      throw error;
    }
  }

  hedge({ content, supplier }: Params<"hedge">): void {
    const piece = this.#pieces.get(content);
    // There is none yet where it waits for room, and none any more where it is over.
    if (piece === undefined) this.#link.note("passedOver", { content, supplier: supplier.id });
    else piece.offer(supplier);
  }

  async openOrigin(
    { content, request, range, target }: Params<"openOrigin">,
    signal: AbortSignal,
  ): Promise<OriginStat> {
    const abort = new AbortController();
    const options = { signal: abort.signal };
    const body = await whileOpening(abort, signal, () =>
      this.#limits.openBody(abort.signal, () =>
        range === undefined
          ? this.#origin.readAll(request, options)
          : this.#origin.readRange(request, range, range.expected, { ...options, target }),
      ),
    );
    const timed = timeWaits(body.content, (ms) => this.#progress.waited(content, ms));
    this.#add(content, timed, abort, () => body[Symbol.asyncDispose]());
    return body.opened.stat;
  }

  openSpool({ content, path, length }: Params<"openSpool">): void {
    this.#add(content, this.#files.readSpool(path, length), new AbortController());
  }

  async receive(
    { content: id, target, length }: Params<"receive">,
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    const digests = await this.#with(id, signal, ({ stream }) =>
      this.#files.receive(target, sliceOf(stream, length).content),
    );
    // It is all there, whatever its source says at the end of it.
    if (length === "all") await this.close({ content: id }).catch(() => undefined);
    return digests;
  }

  async skip({ content: id, length }: Params<"skip">, signal: AbortSignal): Promise<void> {
    await this.#with(id, signal, ({ stream }) => sliceOf(stream, length).rest());
  }

  async end({ content: id }: Params<"end">, signal: AbortSignal): Promise<void> {
    await this.#with(id, signal, ({ stream }) => stream.end());
  }

  async spool({ content: id, path }: Params<"spool">, signal: AbortSignal): Promise<number> {
    return await this.#with(id, signal, ({ stream }) =>
      this.#files.spool(path, stream.all().content),
    );
  }

  async close({ content: id }: Params<"close">): Promise<void> {
    const content = this.#contents.get(id);
    if (content === undefined) return;
    this.#contents.delete(id);
    this.#pieces.delete(id);
    await content.stream[Symbol.asyncDispose]();
    await content.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { abort } of this.#contents.values()) abort.abort(closing());
    await Promise.all([...this.#contents.keys()].map((content) => this.close({ content })));
  }

  #observerOf(content: number): HedgeObserver {
    return {
      tookOver: (supplier, about) => {
        this.#progress.flush(); // what came before came from another one
        this.#link.note("tookOver", { content, supplier, ...about });
      },
      passedOver: (supplier) => this.#link.note("passedOver", { content, supplier }),
      failed: async (supplier, error) => {
        this.#progress.flush(); // what came decides whether there is a rest for others, and who may be to blame
        const fault = encodeFault(error);
        const other = await this.#link.call("supplierFailed", { content, supplier, fault });
        return other ?? undefined;
      },
      waited: (ms) => this.#progress.waited(content, ms),
      doubled: (length) => this.#progress.doubled(content, length),
    };
  }

  #add(
    id: number,
    content: AsyncIterable<Uint8Array>,
    abort: AbortController,
    close: () => PromiseLike<void> = async () => {},
  ): void {
    const counted = countBytes(content, (length) => {
      abort.signal.throwIfAborted();
      this.#progress.received(id, length);
    });
    this.#contents.set(id, { stream: createContentStream(counted), abort, close });
  }

  /** Runs something on a content; what came for it has been told when this settles. */
  async #with<Result>(
    id: number,
    signal: AbortSignal,
    work: (content: OpenContent) => Promise<Result>,
  ): Promise<Result> {
    const content = this.#contents.get(id);
    if (content === undefined) throw new RangeError(`Cannot use content ${id}: it is not open`);
    const onAbort = (): void => content.abort.abort(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    try {
      return await work(content);
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.#progress.flush();
    }
  }
}

function sliceOf(
  stream: LocalContentStream,
  length: number | "all",
): ReturnType<LocalContentStream["next"]> {
  return length === "all" ? stream.all() : stream.next(length);
}

/** A transfer that nobody waits for any more is ended; once it is open, whoever uses it says so. */
async function whileOpening<Opened>(
  abort: AbortController,
  signal: AbortSignal,
  open: () => Promise<Opened>,
): Promise<Opened> {
  const onAbort = (): void => abort.abort(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    return await open();
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

function closing(): DaemonError {
  return new DaemonError("ERR_CLOSED", "Cannot go on: the data plane is stopping");
}
