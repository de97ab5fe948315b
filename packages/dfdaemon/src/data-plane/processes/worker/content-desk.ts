import type { ContentFiles } from "@damselfly/storage";
import { countBytes } from "../../../count-bytes.ts";
import { DaemonError } from "../../../errors.ts";
import type { Origin, OriginStat } from "../../../origins/origin.ts";
import type { ContentLimits } from "../../content-limits.ts";
import { createContentStream, type LocalContentStream } from "../../content-stream.ts";
import type { PieceTransports } from "../../piece-transports.ts";
import type { WorkerMethods } from "../protocol.ts";
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
  readonly #contents = new Map<number, OpenContent>();

  constructor(parts: {
    readonly transports: PieceTransports;
    readonly origin: Origin;
    readonly files: ContentFiles;
    readonly progress: ProgressReporter;
    readonly limits: ContentLimits;
  }) {
    this.#transports = parts.transports;
    this.#origin = parts.origin;
    this.#files = parts.files;
    this.#progress = parts.progress;
    this.#limits = parts.limits;
  }

  async openPiece(
    { content, parent, request, mayTry }: Params<"openPiece">,
    signal: AbortSignal,
  ): Promise<ReturnType<WorkerMethods["openPiece"]>> {
    const abort = new AbortController();
    const { expectedLength = Infinity } = request;
    const download = await whileOpening(abort, signal, () =>
      this.#limits.openPiece(expectedLength, abort.signal, () =>
        this.#transports.downloadPiece(parent, request, { signal: abort.signal, mayTry }),
      ),
    );
    this.#add(content, download.content, abort, () => download[Symbol.asyncDispose]());
    return download.opened.piece;
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
    this.#add(content, body.content, abort, () => body[Symbol.asyncDispose]());
    return body.opened.stat;
  }

  openSpool({ content, path, length }: Params<"openSpool">): void {
    this.#add(content, this.#files.readSpool(path, length), new AbortController());
  }

  async receive(
    { content: id, target, length }: Params<"receive">,
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    return await this.#with(id, signal, ({ stream }) =>
      this.#files.receive(target, sliceOf(stream, length).content),
    );
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
    await content.stream[Symbol.asyncDispose]();
    await content.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { abort } of this.#contents.values()) abort.abort(closing());
    await Promise.all([...this.#contents.keys()].map((content) => this.close({ content })));
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
