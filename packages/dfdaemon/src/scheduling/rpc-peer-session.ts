import {
  RpcError,
  type AnnouncePeerRequest,
  type AnnouncePeerResponse__Output,
  type RpcDuplex,
  type SchedulerClient,
} from "@damselfly/rpc";
import type { PieceRecord } from "@damselfly/storage";
import { DaemonError } from "../errors.ts";
import { messageOf } from "../message-of.ts";
import { encodePiece } from "../piece-message.ts";
import {
  decodeScheduleEvent,
  encodeCandidate,
  encodeOriginFailure,
  encodeRegistration,
  isEchoable,
} from "./peer-messages.ts";
import { ReportQueue } from "./report-queue.ts";
import type {
  CandidateParent,
  PeerRegistration,
  PeerSession,
  ScheduleEvent,
  SchedulerDialect,
} from "./scheduler-link.ts";

/** How long the last word may take to be heard. */
const FAREWELL_MS = 2_000;
/** Reports that wait to be sent; a scheduler that reads slower than that loses the oldest piece reports. */
const BACKLOG_MAX = 100_000;

/** Parents named at once as being of no use; of more, the latest. */
const ECHOES_MAX = 256;

type Body = Omit<AnnouncePeerRequest, "hostId" | "taskId" | "peerId">;

/** A conversation over `AnnouncePeer`. */
export class RpcPeerSession implements PeerSession {
  readonly schedulerName: string;
  readonly dialect: SchedulerDialect;
  readonly #registration: PeerRegistration;
  readonly #hostId: string;
  readonly #duplex: RpcDuplex<AnnouncePeerRequest, AnnouncePeerResponse__Output>;
  readonly #onLost: () => void;
  readonly #backlog = new ReportQueue<Body>();
  #sending: Promise<void> | undefined;
  #ended: () => void = () => {};
  readonly #end = new Promise<void>((resolve) => {
    this.#ended = resolve;
  });

  constructor(
    client: SchedulerClient,
    registration: PeerRegistration,
    options: {
      readonly hostId: string;
      readonly dialect: SchedulerDialect;
      readonly signal: AbortSignal;
      /** Called when the scheduler does not know this host, or cannot be reached any more. */
      readonly onLost: () => void;
    },
  ) {
    this.#onLost = options.onLost;
    this.schedulerName = client.target;
    this.dialect = options.dialect;
    this.#registration = registration;
    this.#hostId = options.hostId;
    this.#duplex = client.announcePeer({ signal: options.signal });
    this.#send({ registerPeerRequest: encodeRegistration(registration) });
  }

  get events(): AsyncIterable<ScheduleEvent> {
    return this.#events();
  }

  holds(pieces: Iterable<PieceRecord>): void {
    for (const piece of pieces) {
      const { parentId: _, ...held } = encodePiece(piece);
      // Only ours has a use for who read a piece at the origin: to Dragonfly's it would look like an origin read twice.
      const isTold = this.dialect === "damselfly" && piece.trafficType === "BACK_TO_SOURCE";
      const local = isTold ? held : { ...held, trafficType: "LOCAL_PEER" as const };
      this.#send({ downloadPieceFinishedRequest: { piece: local } });
    }
  }

  started(from: "parents" | "origin"): void {
    this.#send(
      from === "parents"
        ? { downloadPeerStartedRequest: {} }
        : { downloadPeerBackToSourceStartedRequest: {} },
    );
  }

  pieceFinished(piece: PieceRecord, parent?: CandidateParent): void {
    if (parent === undefined)
      this.#send({ downloadPieceBackToSourceFinishedRequest: { piece: encodePiece(piece) } });
    else
      this.#send({
        downloadPieceFinishedRequest: { piece: { ...encodePiece(piece), parentId: parent.peerId } },
      });
  }

  pieceFailed(pieceNumber: number | undefined, parent: CandidateParent): void {
    this.#send({
      downloadPieceFailedRequest: {
        ...(pieceNumber === undefined ? {} : { pieceNumber }),
        parentId: parent.peerId,
        // No piece named: nothing is wanted of this parent any more. Dragonfly's scheduler sets a parent aside at the first temporary
        // failure, and does not know what to do with any other.
        temporary: pieceNumber !== undefined || this.dialect === "dragonfly",
      },
    });
  }

  originFailed(pieceNumber: number | undefined, error: Error): void {
    this.#send({
      downloadPieceBackToSourceFailedRequest: encodeOriginFailure(pieceNumber, error),
    });
  }

  reschedule(exhausted: readonly CandidateParent[], description: string): void {
    const candidateParents = exhausted
      .filter(isEchoable)
      .slice(-ECHOES_MAX)
      .map((parent) => encodeCandidate(parent, this.#registration));
    this.#send({ reschedulePeerRequest: { candidateParents, description } });
  }

  async finish(from: "parents" | "origin"): Promise<void> {
    await this.#farewell(
      from === "parents"
        ? { downloadPeerFinishedRequest: {} }
        : { downloadPeerBackToSourceFinishedRequest: {} },
    );
  }

  async fail(description: string, from: "parents" | "origin"): Promise<void> {
    await this.#farewell(
      from === "parents"
        ? { downloadPeerFailedRequest: { description } }
        : { downloadPeerBackToSourceFailedRequest: { description } },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#duplex[Symbol.asyncDispose]();
    await this.#sending;
  }

  async *#events(): AsyncGenerator<ScheduleEvent, void, undefined> {
    try {
      for await (const response of this.#duplex) {
        const event = decodeScheduleEvent(response);
        if (event !== undefined) yield event;
      }
    } catch (error) {
      if (error instanceof RpcError && (error.code === "NOT_FOUND" || error.code === "UNAVAILABLE"))
        this.#onLost();
      throw new DaemonError(
        "ERR_SCHEDULER",
        `Cannot go on with scheduler ${this.schedulerName}: ${messageOf(error)}`,
        { cause: error },
      );
    } finally {
      this.#ended();
    }
  }

  /** The scheduler ends the stream after a last word: waiting for that is how we know it was heard. */
  async #farewell(body: Body): Promise<void> {
    this.#send(body);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, FAREWELL_MS);
    });
    await Promise.race([this.#hangUp(), late]);
    clearTimeout(timer);
  }

  async #hangUp(): Promise<void> {
    await this.#sending;
    this.#duplex.end();
    await this.#end;
  }

  #send(body: Body): void {
    if (this.#backlog.length >= BACKLOG_MAX) this.#backlog.dropOldest(isOfPiece);
    this.#backlog.push(body);
    // Over only after its first write, and so after it is kept here.
    this.#sending ??= this.#drain();
  }

  /** Sends one after another. A stream that has broken says so through `events`: nothing is lost that is not known there. */
  async #drain(): Promise<void> {
    const { taskId, peerId } = this.#registration;
    for (let body = this.#backlog.shift(); body !== undefined; body = this.#backlog.shift()) {
      try {
        await this.#duplex.write({ hostId: this.#hostId, taskId, peerId, ...body });
      } catch {
        this.#backlog.clear();
      }
    }
    // In the very step that found nothing left: whatever is sent after it starts anew.
    this.#sending = undefined;
  }
}

function isOfPiece(body: Body): boolean {
  return (
    body.downloadPieceFinishedRequest != null ||
    body.downloadPieceBackToSourceFinishedRequest != null
  );
}
