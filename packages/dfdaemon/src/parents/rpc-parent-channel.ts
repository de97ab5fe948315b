import { RpcError, type SyncPiecesResponse__Output } from "@damselfly/rpc";
import { DaemonError } from "../errors.ts";
import { messageOf } from "../message-of.ts";
import type { CandidateParent } from "../scheduling/scheduler-link.ts";
import { askAgain } from "./ask-again.ts";
import { addressOf, type ParentPolicy } from "./parent-address.ts";
import type { ParentChannel, ParentEvent } from "./parent-channel.ts";
import type { HeldClient, UploadClients } from "./upload-clients.ts";

export interface RpcParentChannelOptions {
  readonly clients: UploadClients;
  /** Our own, sent along: the parent logs it and binds it to our certificate. */
  readonly hostId: string;
  /** Whether we show certificates, and whether parents without any will do. */
  readonly policy: ParentPolicy;
  /** Our quinn key, for parents to let us in; undefined: that backend is not used. Told only over channels where `policy` knows both sides. */
  readonly quinnKey?: Uint8Array | undefined;
  /** A parent that says nothing for this long is not listened to any more (`download.collectedPieceTimeout`). Milliseconds. */
  readonly silenceMs: number;
}

interface Query {
  readonly taskId: string;
  readonly pieceNumbers: readonly number[];
  readonly contentVersion: string;
  readonly sourceDigest: string;
  readonly signal: AbortSignal;
}

/** Parents over DfdaemonUpload's SyncPieces: our own kind, and Dragonfly's, which say less. */
export class RpcParentChannel implements ParentChannel {
  readonly #options: RpcParentChannelOptions;

  constructor(options: RpcParentChannelOptions) {
    this.#options = options;
  }

  async *syncPieces(
    parent: CandidateParent,
    query: Query,
  ): AsyncGenerator<ParentEvent, void, undefined> {
    const { clients } = this.#options;
    const { signal } = query;
    const held = await clients.acquire(parent);
    try {
      signal.throwIfAborted();
      yield* this.#sync(held, parent, query);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof DaemonError) throw error;
      const why = isUnreachable(error) ? await clients.whyNotPlain(parent) : undefined;
      if (why !== undefined) throw refusal(parent, why, error);
      throw new DaemonError(
        "ERR_PARENT",
        `Cannot learn what ${parent.hostId} has: ${messageOf(error)}`,
        { cause: error },
      );
    } finally {
      held.release();
    }
  }

  /**
   * Dragonfly's parents end a stream early when a message could not be sent for ten seconds, and say that all is well: they are asked
   * again for the rest for as long as that brings anything.
   */
  async *#sync(
    held: HeldClient,
    parent: CandidateParent,
    query: Query,
  ): AsyncGenerator<ParentEvent, void, undefined> {
    const missing = new Set(query.pieceNumbers);
    let met = false;
    let isOurs = true;
    for (let asked = Infinity; missing.size > 0 && missing.size < asked;) {
      asked = missing.size;
      const silence = new AbortController();
      for await (const response of this.#ask(held, query, [...missing], silence)) {
        if (!met) {
          isOurs = response.extension !== null;
          yield { kind: "address", address: this.#address(held, parent, response, query) };
          met = true;
        }
        if (response.extension?.leaving === true) {
          yield { kind: "leaving" };
          return;
        }
        // A message without bytes only introduces the parent: it has no piece yet.
        if (response.length === 0) continue;
        const { number, offset, length } = response;
        missing.delete(number);
        yield { kind: "piece", number, offset, length };
      }
      if (isOurs || silence.signal.aborted) return;
    }
  }

  /** One stream. It ends when the parent ends it, or when the parent has been silent for too long: `silence` aborts then. */
  async *#ask(
    { client, isSecure }: HeldClient,
    { taskId, contentVersion, signal }: Query,
    pieceNumbers: readonly number[],
    silence: AbortController,
  ): AsyncGenerator<SyncPiecesResponse__Output, void, undefined> {
    const { hostId, policy, silenceMs } = this.#options;
    const quinnKey = isSecure || !policy.tls ? this.#options.quinnKey : undefined;
    const request = {
      hostId,
      taskId,
      interestedPieceNumbers: [...pieceNumbers],
      extension: { version: 1, contentVersion, ...(quinnKey === undefined ? {} : { quinnKey }) },
    };
    const timer = setTimeout(() => silence.abort(), silenceMs);
    try {
      const either = AbortSignal.any([signal, silence.signal]);
      const call = (): AsyncIterable<SyncPiecesResponse__Output> =>
        client.syncPieces(request, { signal: either });
      for await (const response of askAgain(call, { signal: either })) {
        timer.refresh();
        yield response;
        timer.refresh();
      }
    } catch (error) {
      signal.throwIfAborted();
      if (!silence.signal.aborted) throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  #address(
    { client, isSecure }: HeldClient,
    parent: CandidateParent,
    response: SyncPiecesResponse__Output,
    { contentVersion, sourceDigest }: Query,
  ): ReturnType<typeof addressOf> {
    const { policy, quinnKey } = this.#options;
    return addressOf(parent, response, {
      policy,
      isSecure,
      contentVersion,
      sourceDigest,
      certificates: client.serverCertificates,
      quinn: quinnKey !== undefined && (isSecure || !policy.tls),
    });
  }
}

function refusal(parent: CandidateParent, why: string, cause: unknown): DaemonError {
  return new DaemonError("ERR_PARENT", `Cannot use parent ${parent.hostId}: ${why}`, { cause });
}

function isUnreachable(error: unknown): boolean {
  return error instanceof RpcError && error.code === "UNAVAILABLE";
}
