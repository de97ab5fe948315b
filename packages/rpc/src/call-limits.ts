import { AddressCounts, Backlog, type Destroyable, HalfOpen } from "@damselfly/limits";
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { MessageTally } from "./message-tally.ts";
import { meterWrites } from "./meter-writes.ts";
import type { RpcLimits } from "./rpc-limits.ts";

/** What RFC 9113 (section 6.5.2) counts for a header besides its name and value. Bytes. */
const HEADER_OVERHEAD = 32;

/** Calls from their headers on: how many, how slowly they ask, and how slowly their answers are taken. */
export class CallLimits implements Disposable {
  readonly #limits: RpcLimits;
  readonly #isStreaming: (path: string) => boolean;
  readonly #counts: AddressCounts;
  /** Whose message is awaited: its beginning, or the rest. */
  readonly #asking: HalfOpen<Destroyable>;
  readonly #unfinished: Backlog<Destroyable>;
  readonly #untaken: Backlog<Destroyable>;
  readonly #sweeper: NodeJS.Timeout;

  /** @param options.isStreaming whether callers send several messages at this path, with any time in between */
  constructor(options: {
    readonly limits: RpcLimits;
    readonly isStreaming: (path: string) => boolean;
    /** Milliseconds of a clock that does not run backwards. */
    readonly now: () => number;
  }) {
    const { limits, now } = options;
    this.#limits = limits;
    this.#isStreaming = options.isStreaming;
    const { callCountMax: countMax, callsPerAddressMax: perAddressMax } = limits;
    this.#counts = new AddressCounts({ countMax, perAddressMax });
    this.#asking = new HalfOpen({ countMax, timeoutMs: limits.requestMs });
    this.#unfinished = new Backlog({ lengthMax: limits.unfinishedLengthMax, now });
    this.#untaken = new Backlog({ lengthMax: limits.untakenLengthMax, now });
    this.#sweeper = setInterval(() => this.#untaken.expire(limits.stallMs), limits.stallMs / 4);
    this.#sweeper.unref();
  }

  /** Why this call is not let in; undefined: it is. */
  refusalOf(headers: IncomingHttpHeaders, ip: string): string | undefined {
    const length = lengthOf(headers);
    const { headerLengthMax } = this.#limits;
    if (length > headerLengthMax) return `metadata is ${length} bytes, limit is ${headerLengthMax}`;
    const excess = this.#counts.excess(ip);
    if (excess === undefined) return undefined;
    return excess === "all" ? "too many calls at once" : "too many calls at once from one address";
  }

  /** Counts a call that was let in, until its stream is closed. */
  watch(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, ip: string): void {
    const call = { destroy: () => stream.close(constants.NGHTTP2_CANCEL) };
    const release = this.#counts.add(ip);
    this.#asking.enter(call);
    const tally = new MessageTally();
    const isStreaming = this.#isStreaming(headers[":path"] ?? "");
    // Whoever handles the call reads; this only listens.
    stream.on("data", (chunk: Uint8Array) => {
      const wasWhole = tally.isWhole;
      tally.push(chunk);
      this.#unfinished.set(call, isStreaming ? tally.unfinishedLength : tally.length);
      if (!isStreaming) return;
      if (tally.isWhole) this.#asking.leave(call);
      else if (wasWhole) {
        this.#asking.leave(call); // the next one has its own time
        this.#asking.enter(call);
      }
    });
    stream.once("end", () => {
      this.#asking.leave(call);
      this.#unfinished.set(call, 0);
    });
    meterWrites(stream, (length) => this.#untaken.set(call, length));
    stream.once("close", () => {
      release();
      this.#asking.leave(call);
      this.#unfinished.set(call, 0);
      this.#untaken.set(call, 0);
    });
  }

  [Symbol.dispose](): void {
    clearInterval(this.#sweeper);
  }
}

function lengthOf(headers: IncomingHttpHeaders): number {
  let length = 0;
  for (const [name, value] of Object.entries(headers)) {
    for (const each of Array.isArray(value) ? value : [value ?? ""]) {
      length += name.length + each.length + HEADER_OVERHEAD;
    }
  }
  return length;
}
