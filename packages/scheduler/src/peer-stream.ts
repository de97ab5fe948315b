import type { AnnouncePeerRequest__Output, AnnouncePeerResponse, DuplexCall } from "@damselfly/rpc";
import { answerStatus } from "./answer-status.ts";
import { describePeer } from "./describe.ts";
import { SchedulerError } from "./errors.ts";
import type { Peer, PeerVoice } from "./peer.ts";
import type { Scheduling } from "./scheduling.ts";
import type { PieceFacts } from "./task.ts";
import { assertCandidate, assertDownload, assertId, assertPiece } from "./validate.ts";

type Call = DuplexCall<AnnouncePeerRequest__Output, AnnouncePeerResponse>;

/**
 * One AnnouncePeer call: what the peer says goes to `Scheduling`, what it is told comes back. It ends well after the
 * peer's last word, and with an error when the peer is refused or breaks a rule. A peer that leaves without a last word
 * is gone.
 *
 * @param checkHost throws unless the caller may speak for this host
 */
export async function servePeerStream(
  call: Call,
  options: { readonly scheduling: Scheduling; readonly checkHost: (hostId: string) => void },
): Promise<void> {
  const stream = new PeerStream(options.scheduling, options.checkHost);
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
  | { readonly kind: "parents"; parents: readonly Peer[]; readonly digests: PieceFacts[] }
  | { readonly kind: "other"; readonly response: AnnouncePeerResponse };

class PeerStream implements PeerVoice {
  readonly #scheduling: Scheduling;
  readonly #checkHost: (hostId: string) => void;
  readonly #messages: Message[] = [];
  #peer: Peer | undefined;
  /** Nothing comes after what is in `#messages`, but for an error. */
  #isClosed = false;
  #error: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(scheduling: Scheduling, checkHost: (hostId: string) => void) {
    this.#scheduling = scheduling;
    this.#checkHost = checkHost;
  }

  /** Takes what the peer says until it says no more. Never rejects. */
  async listen(requests: AsyncIterable<AnnouncePeerRequest__Output>): Promise<void> {
    try {
      for await (const request of requests) {
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
      const message = this.#messages.shift();
      if (message !== undefined) return toResponse(message);
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
      last.digests.push(...digests);
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
    const download = assertDownload(registerPeerRequest?.download ?? null);
    this.#checkHost(hostId);
    const extension = registerPeerRequest?.extension ?? null;
    this.#peer = this.#scheduling.register(
      {
        hostId,
        taskId,
        peerId,
        download,
        takesPushes: extension !== null,
        contentVersion: extension?.contentVersion ?? "",
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
        return scheduling.pieceFinished(peer, piece.number, piece.parentId);
      }
      case "downloadPieceBackToSourceFinishedRequest": {
        const piece = assertPiece(message.downloadPieceBackToSourceFinishedRequest?.piece ?? null);
        return scheduling.originPieceFinished(peer, {
          number: piece.number,
          offset: piece.offset,
          length: piece.length,
          digest: piece.digest,
        });
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

function toResponse(message: Message): AnnouncePeerResponse {
  if (message.kind === "other") return message.response;
  // The digests are the task's, so one parent carries them for all.
  const candidateParents = message.parents.map((parent, index) =>
    describePeer(parent, index === 0 ? message.digests : []),
  );
  return { normalTaskResponse: { candidateParents } };
}
