import { type Clock, SYSTEM_CLOCK, TokenBucket } from "@damselfly/limits";
import type {
  AnnouncePeerRequest__Output,
  AnnouncePeerResponse,
  DuplexCall,
  Piece__Output,
} from "@damselfly/rpc";
import { answerStatus } from "./answer-status.ts";
import { describePeer } from "./describe.ts";
import { SchedulerError } from "./errors.ts";
import type { Peer, PeerVoice } from "./peer.ts";
import type { SchedulerLimits } from "./scheduler-limits.ts";
import { PIECE_COUNT_MAX, type Scheduling } from "./scheduling.ts";
import type { PieceFacts } from "./task.ts";
import {
  assertCandidate,
  assertDownload,
  assertId,
  assertPiece,
  assertVersion,
} from "./validate.ts";

type Call = DuplexCall<AnnouncePeerRequest__Output, AnnouncePeerResponse>;

/** Digests in one message: it is some 2 MiB long then. */
const DIGEST_COUNT_MAX = 32_768;

export interface PeerStreamOptions {
  readonly scheduling: Scheduling;
  /** Throws unless the caller may speak for this host. */
  readonly checkHost: (hostId: string) => void;
  readonly limits: Pick<
    SchedulerLimits,
    "reportsPerSecondMax" | "waitingMessageCountMax" | "downloadLengthMax"
  >;
  /** Default: the system's. */
  readonly clock?: Clock;
}

/**
 * One AnnouncePeer call: what the peer says goes to `Scheduling`, what it is told comes back. It ends well after the
 * peer's last word, and with an error when the peer is refused or breaks a rule. A peer that leaves without a last word
 * is gone.
 */
export async function servePeerStream(call: Call, options: PeerStreamOptions): Promise<void> {
  const stream = new PeerStream(options, call.peerIp);
  const onAbort = (): void => stream.close();
  call.signal.addEventListener("abort", onAbort, { once: true });
  void stream.listen(call.requests);
  try {
    for (let message = await stream.next(); message !== undefined; message = await stream.next()) {
      await call.write(message);
    }
  } catch (error) {
    throw answerStatus(error);
  } finally {
    call.signal.removeEventListener("abort", onAbort);
    stream.leave();
  }
}

/** Not sent yet. */
type Message =
  | { readonly kind: "parents"; parents: readonly Peer[]; digests: PieceFacts[] }
  | { readonly kind: "other"; readonly response: AnnouncePeerResponse };

class PeerStream implements PeerVoice {
  readonly #options: PeerStreamOptions;
  readonly #scheduling: Scheduling;
  readonly #address: string;
  readonly #messages: Message[] = [];
  #peer: Peer | undefined;
  /** Nothing comes after what is in `#messages`, but for an error. */
  #isClosed = false;
  #error: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(options: PeerStreamOptions, address: string) {
    this.#options = options;
    this.#scheduling = options.scheduling;
    this.#address = address;
  }

  /** Takes what the peer says until it says no more, no faster than it may. Never rejects. */
  async listen(requests: AsyncIterable<AnnouncePeerRequest__Output>): Promise<void> {
    const { limits, clock = SYSTEM_CLOCK } = this.#options;
    const perSecond = limits.reportsPerSecondMax;
    const turns = new TokenBucket({ perSecond, burst: 2 * perSecond }, clock.now());
    try {
      for await (const request of requests) {
        while (!this.#isClosed && !turns.take(clock.now())) {
          await new Promise<void>((resolve) => clock.after(Math.ceil(1_000 / perSecond), resolve));
        }
        if (this.#isClosed) return;
        this.#take(request);
      }
      this.close();
    } catch (error) {
      this.#fail(error);
    }
  }

  /**
   * What to send next; undefined: nothing any more, all is well.
   *
   * @throws what ended the stream, after everything before it was sent
   */
  async next(): Promise<AnnouncePeerResponse | undefined> {
    for (;;) {
      const [message] = this.#messages;
      if (message?.kind === "parents" && message.digests.length > DIGEST_COUNT_MAX) {
        const digests = message.digests.slice(0, DIGEST_COUNT_MAX);
        message.digests = message.digests.slice(DIGEST_COUNT_MAX);
        return toResponse({ ...message, digests });
      }
      if (message !== undefined) {
        this.#messages.shift();
        return toResponse(message);
      }
      if (this.#error !== undefined) throw this.#error;
      if (this.#isClosed) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** The call is over. */
  leave(): void {
    this.#isClosed = true;
    if (this.#peer !== undefined) this.#scheduling.gone(this.#peer);
  }

  parents(parents: readonly Peer[], digests: readonly PieceFacts[]): void {
    const last = this.#messages.at(-1);
    // A peer that takes its messages slowly gets the latest news only.
    if (last?.kind === "parents") {
      last.parents = parents;
      // More than the task can have: it began anew, several times.
      last.digests =
        last.digests.length > PIECE_COUNT_MAX ? [...digests] : [...last.digests, ...digests];
      return;
    }
    this.#send({ kind: "parents", parents, digests: [...digests] });
  }

  origin(description: string): void {
    this.#send({
      kind: "other",
      response: { needBackToSourceResponse: { description, extension: { version: 1 } } },
    });
  }

  empty(): void {
    this.#send({ kind: "other", response: { emptyTaskResponse: {} } });
  }

  metadataOnly(): void {
    this.#send({ kind: "other", response: { metadataOnlyResponse: {} } });
  }

  refuse(error: SchedulerError): void {
    this.#fail(error);
  }

  end(): void {
    this.close();
  }

  close(): void {
    this.#isClosed = true;
    this.#wake?.();
  }

  #send(message: Message): void {
    if (this.#isClosed) return;
    if (this.#messages.length >= this.#options.limits.waitingMessageCountMax) {
      const count = this.#messages.length;
      this.#messages.length = 0;
      const why = `Cannot tell the peer more: it has not read ${count} messages`;
      return this.#fail(new SchedulerError("ERR_DEAF", why));
    }
    this.#messages.push(message);
    this.#wake?.();
  }

  #fail(error: unknown): void {
    if (this.#isClosed) return;
    this.#error = error instanceof Error ? error : new Error(String(error));
    this.close();
  }

  #take(message: AnnouncePeerRequest__Output): void {
    assertId(message.hostId, "host_id");
    assertId(message.taskId, "task_id");
    assertId(message.peerId, "peer_id");
    if (message.request === undefined) {
      throw new SchedulerError("ERR_INVALID_MESSAGE", "invalid message: request is missing");
    }
    if (message.request === "registerPeerRequest") {
      this.#register(message);
      return;
    }
    const peer = this.#peer;
    if (
      peer === undefined ||
      peer.id !== message.peerId ||
      peer.task.id !== message.taskId ||
      peer.host.id !== message.hostId
    ) {
      throw new SchedulerError(
        "ERR_PEER_NOT_FOUND",
        `peer ${message.peerId} not found: it has not registered in this stream`,
      );
    }
    this.#report(peer, message);
  }

  #register({ hostId, taskId, peerId, registerPeerRequest }: AnnouncePeerRequest__Output): void {
    if (this.#peer !== undefined) {
      throw new SchedulerError(
        "ERR_INVALID_MESSAGE",
        `invalid message: peer ${this.#peer.id} has registered in this stream already`,
      );
    }
    const download = assertDownload(
      registerPeerRequest?.download ?? null,
      this.#options.limits.downloadLengthMax,
    );
    this.#options.checkHost(hostId);
    const extension = registerPeerRequest?.extension ?? null;
    this.#peer = this.#scheduling.register(
      {
        hostId,
        taskId,
        peerId,
        download,
        takesPushes: extension !== null,
        contentVersion: assertVersion(extension?.contentVersion ?? ""),
        address: this.#address,
      },
      this,
    );
  }

  // oxlint-disable-next-line complexity -- one branch a message
  #report(peer: Peer, message: AnnouncePeerRequest__Output): void {
    const scheduling = this.#scheduling;
    switch (message.request) {
      case "downloadPeerStartedRequest":
        return scheduling.started(peer);
      case "downloadPeerBackToSourceStartedRequest":
        return scheduling.originStarted(peer);
      case "downloadPieceFinishedRequest": {
        const piece = assertPiece(message.downloadPieceFinishedRequest?.piece ?? null);
        if (piece.parentId !== undefined || piece.trafficType === "REMOTE_PEER")
          return scheduling.pieceFinished(peer, piece.number, piece.parentId);
        const isRead = piece.trafficType === "BACK_TO_SOURCE";
        return scheduling.pieceHeld(peer, piece.number, isRead ? factsOf(piece) : undefined);
      }
      case "downloadPieceBackToSourceFinishedRequest": {
        const piece = assertPiece(message.downloadPieceBackToSourceFinishedRequest?.piece ?? null);
        return scheduling.originPieceFinished(peer, factsOf(piece));
      }
      case "downloadPieceFailedRequest": {
        const parentId = message.downloadPieceFailedRequest?.parentId ?? "";
        assertId(parentId, "parent_id");
        const temporary = message.downloadPieceFailedRequest?.temporary ?? false;
        return scheduling.pieceFailed(peer, { parentId, temporary });
      }
      case "downloadPieceBackToSourceFailedRequest":
        return scheduling.originPieceFailed(peer);
      case "reschedulePeerRequest": {
        const parents = message.reschedulePeerRequest?.candidateParents ?? [];
        return scheduling.reschedule(
          peer,
          parents.map((parent) => assertCandidate(parent).id),
        );
      }
      case "downloadPeerFinishedRequest":
      case "downloadPeerBackToSourceFinishedRequest":
        return scheduling.finished(peer);
      case "downloadPeerFailedRequest":
      case "downloadPeerBackToSourceFailedRequest":
        return scheduling.failed(peer);
      case "registerPeerRequest":
      case undefined:
        return undefined;
    }
  }
}

function factsOf({ number, offset, length, digest, strongDigest }: Piece__Output): PieceFacts {
  return { number, offset, length, digest, ...(strongDigest !== "" && { strongDigest }) };
}

function toResponse(message: Message): AnnouncePeerResponse {
  if (message.kind === "other") return message.response;
  // The digests are the task's, so one parent carries them for all.
  const candidateParents = message.parents.map((parent, index) =>
    describePeer(parent, index === 0 ? message.digests : []),
  );
  return { normalTaskResponse: { candidateParents } };
}
