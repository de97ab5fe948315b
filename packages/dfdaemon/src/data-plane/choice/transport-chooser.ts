import {
  type ByteRange,
  clipByteRange,
  type Downloader,
  type ParentAddress,
  type PieceDownload,
  type PieceRequest,
  type Protocol,
  TransportError,
  within,
} from "@damselfly/transport";
import type { Logger } from "../../logger.ts";
import { messageOf } from "../../message-of.ts";
import { toError } from "../../to-error.ts";
import type { ChoiceObserver } from "./choice-observer.ts";
import { canMove, gravest, isPassable } from "./failures.ts";
import { judgeRun, type Move, type Run } from "./judge-run.ts";
import { KnownParent } from "./known-parent.ts";
import { type Leg, type LegEnd, MovingPiece } from "./moving-piece.ts";
import { FAR_RTT_MS, ParentRecord, type Plan } from "./parent-record.ts";
import { Prober } from "./prober.ts";
import { race, type RaceOutcome } from "./race.ts";
import { protocolsOf } from "./protocols-of.ts";

const PARENT_COUNT_MAX = 10_000;
/** Pieces wait so long for what the first contact brings, before they ask for themselves. Milliseconds. */
const CONTACT_WAIT_MS = 50;
/** The same where a connection has shown that the parent is near: it is busy then, and another protocol would not help. Milliseconds. */
const NEAR_WAIT_MS = 400;
/** Shorter pieces say more about latency than about speed. Bytes. */
const MEASURED_LENGTH_MIN = 256 * 1024;
/** The path is looked at with the first pieces, and then with every so many. */
const PATH_INTERVAL = 16;

export interface TransportChooserInit {
  readonly downloaders: readonly Downloader[];
  /** `auto`: by measurement; `in order`: the first of `downloaders` that gets through. */
  readonly mode: "auto" | "in order";
  /** The shortest round trip of a connection to that address, in milliseconds; undefined: there is none. */
  readonly rttTo?: (ip: string) => number | undefined;
  readonly observer?: ChoiceObserver | undefined;
  readonly logger: Logger;
  /** Milliseconds on a clock that never goes back. */
  readonly now?: () => number;
  /** In [0, 1). */
  readonly random?: () => number;
  /** Parents remembered, default 10,000; one more forgets the one that was asked for the longest ago. */
  readonly parentCountMax?: number;
}

/** Fetches each piece over the protocol that is the best to its parent, as far as is known, or over what works. */
export class TransportChooser implements AsyncDisposable {
  readonly #init: TransportChooserInit;
  readonly #now: () => number;
  readonly #downloaders: ReadonlyMap<Protocol, Downloader>;
  readonly #parents = new Map<string, KnownParent>();
  readonly #prober: Prober;
  #pieceCount = 0;

  constructor(init: TransportChooserInit) {
    this.#init = init;
    this.#now = init.now ?? (() => performance.now());
    this.#downloaders = new Map(init.downloaders.map((each) => [each.protocol, each]));
    this.#prober = new Prober({
      ask: (known, protocol, about) => this.#ask(known, protocol, about),
      failed: (known, protocol, error) => void this.#failed(known, protocol, error),
    });
  }

  /** Those asked last come last. */
  get parents(): readonly KnownParent[] {
    return [...this.#parents.values()];
  }

  /**
   * Resolves once the piece is announced over one of the protocols. With a range only that comes, which may be the rest of a piece that
   * another parent has begun.
   *
   * @param options.mayTry whether the piece may find out how another protocol does, and be late for it; default true
   * @throws {TransportError} what the transports say; of several failures the gravest
   * @throws the signal's reason
   */
  async downloadPiece(
    parent: ParentAddress,
    request: PieceRequest,
    { signal, mayTry = true }: { readonly signal: AbortSignal; readonly mayTry?: boolean },
  ): Promise<PieceDownload> {
    signal.throwIfAborted();
    const offered = protocolsOf(parent).filter((protocol) => this.#downloaders.has(protocol));
    if (offered.length === 0) {
      const ours = [...this.#downloaders.keys()].join(", ");
      throw new TransportError(
        "ERR_PARENT_UNREACHABLE",
        `Cannot fetch from ${parent.hostId}: it serves none of ${ours}`,
      );
    }
    const known = this.#know(parent);
    known.record.meet(offered, addressKey(parent));
    this.#lookAtPath(known);
    let plan = this.#planAtOnce(known, mayTry);
    const endContact = plan?.isFirstContact === true ? known.beginContact() : undefined;
    plan ??= await this.#planAfterContact(known, { signal, mayTry });
    let outcome: RaceOutcome<Protocol, Leg>;
    try {
      outcome = await this.#run(known, request, { plan, signal });
    } catch (error) {
      if (plan.isTrial) known.record.trialEnded();
      throw error;
    } finally {
      endContact?.();
    }
    for (const loser of outcome.losers) this.#prober.probe(known, loser, request);
    return this.#follow(known, request, { outcome, plan, signal });
  }

  /** Ends what looks at transports in the background, and the downloaders. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#prober[Symbol.asyncDispose]();
    await Promise.all(this.#init.downloaders.map((each) => each[Symbol.asyncDispose]()));
  }

  #know(parent: ParentAddress): KnownParent {
    const { hostId } = parent;
    let known = this.#parents.get(hostId);
    if (known === undefined) {
      const record = new ParentRecord({
        hostId,
        named: this.#init.mode === "auto" ? undefined : [...this.#downloaders.keys()],
        now: this.#now,
        random: this.#init.random ?? Math.random,
        onDecision: (decision) => {
          const { protocol, reason, words } = decision;
          this.#init.logger.info(
            { parent: hostId, protocol, reason },
            `parent ${hostId}: ${words}`,
          );
          this.#init.observer?.decided(decision);
        },
      });
      known = new KnownParent(record, parent);
      const [oldest] = this.#parents.keys();
      const { parentCountMax = PARENT_COUNT_MAX } = this.#init;
      if (this.#parents.size >= parentCountMax && oldest !== undefined)
        this.#parents.delete(oldest);
    } else {
      this.#parents.delete(hostId); // last again
      known.address = parent;
    }
    this.#parents.set(hostId, known);
    return known;
  }

  #lookAtPath(known: KnownParent): void {
    const { record, runs } = known;
    this.#pieceCount += 1;
    const isNew = record.rttMs === undefined || runs.size === 0;
    if (!isNew && this.#pieceCount % PATH_INTERVAL !== 0) return;
    this.#noteRtt(known);
  }

  #noteRtt({ address, record }: KnownParent): void {
    const rttMs = this.#init.rttTo?.(address.ip);
    if (rttMs !== undefined) record.noteRtt(rttMs);
  }

  /** Undefined while another piece meets the parent for the first time. */
  #planAtOnce({ contact, record }: KnownParent, mayTry: boolean): Plan | undefined {
    return contact === undefined || record.isAcquainted ? record.plan({ mayTry }) : undefined;
  }

  /** Of several pieces that meet a parent at once one goes ahead: on a LAN the others follow within milliseconds. */
  async #planAfterContact(
    known: KnownParent,
    { signal, mayTry }: { readonly signal: AbortSignal; readonly mayTry: boolean },
  ): Promise<Plan> {
    const { contact, record } = known;
    const waited = async (ms: number): Promise<void> => {
      try {
        await within(contact!, { ms, signal, expired: () => new SlowContact() });
      } catch (error) {
        if (!(error instanceof SlowContact)) throw error;
      }
    };
    await waited(CONTACT_WAIT_MS);
    // After a busy moment timers come before what has arrived meanwhile.
    await new Promise((resolve) => setImmediate(resolve));
    if (!record.isAcquainted && this.#isSeenNear(known)) await waited(NEAR_WAIT_MS);
    return record.plan({ isSlow: !record.isAcquainted && !this.#isSeenNear(known), mayTry });
  }

  /** Not by what an answer took, which a busy parent makes long, but by a connection's own round trip. */
  #isSeenNear({ address }: KnownParent): boolean {
    const rttMs = this.#init.rttTo?.(address.ip);
    return rttMs !== undefined && rttMs <= FAR_RTT_MS;
  }

  async #run(
    known: KnownParent,
    request: PieceRequest,
    { plan, signal }: { readonly plan: Plan; readonly signal: AbortSignal },
  ): Promise<RaceOutcome<Protocol, Leg>> {
    const failures: Error[] = [];
    try {
      return await race({
        entrants: plan.entrants,
        run: (protocol, ending) => this.#ask(known, protocol, { request, signal: ending }),
        holdMs: () => (plan.isFirstContact && this.#isSeenNear(known) ? NEAR_WAIT_MS : 0),
        patienceMs: (protocol) => (protocol === "tcp" ? (plan.tcpPatienceMs ?? 0) : 0),
        discard: ({ download }) => download[Symbol.asyncDispose](),
        failed: (protocol, error) => {
          failures.push(toError(error));
          return this.#failed(known, protocol, error);
        },
        signal,
      });
    } catch (error) {
      signal.throwIfAborted();
      throw gravest(failures) ?? error;
    }
  }

  /** Takes note of a failure before the announcement. True: another protocol may do. */
  #failed(known: KnownParent, protocol: Protocol, error: unknown): boolean {
    if (!isPassable(error)) return false;
    const detourMs = known.record.failed(protocol, messageOf(error));
    if (detourMs > 0) {
      const { hostId } = known.address;
      this.#init.logger.warn(
        { parent: hostId, protocol },
        `${protocol} does not get through, leaving it out for ${Math.round(detourMs / 1000)} s: ${messageOf(error)}`,
      );
      this.#init.observer?.failed(protocol);
    }
    return true;
  }

  async #ask(
    known: KnownParent,
    protocol: Protocol,
    { request, signal }: { readonly request: PieceRequest; readonly signal: AbortSignal },
  ): Promise<Leg> {
    const controller = new AbortController();
    const onAbort = (): void => controller.abort(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    const askedAt = this.#now();
    const downloader = this.#downloaders.get(protocol)!;
    const options = { signal: controller.signal };
    const download = await downloader.downloadPiece(known.address, request, options);
    const announcedAt = this.#now();
    // The first answer is a poor measure of the path; its connection knows better.
    if (!known.record.isAcquainted) this.#noteRtt(known);
    known.record.announced(protocol, announcedAt - askedAt);
    const offset = request.range?.offset ?? 0;
    return { source: protocol, download, controller, offset, askedAt, announcedAt };
  }

  #follow(
    known: KnownParent,
    request: PieceRequest,
    about: {
      readonly outcome: RaceOutcome<Protocol, Leg>;
      readonly plan: Plan;
      readonly signal: AbortSignal;
    },
  ): PieceDownload {
    const { outcome, plan, signal } = about;
    const { record, runs } = known;
    const concurrency = runs.size + 1;
    const { observer } = this.#init;
    const others = (piece: MovingPiece): Protocol[] =>
      plan.entrants
        .map(({ name }) => name)
        .filter((name) => name !== piece.protocol && !piece.spent.has(name));
    const run: Run = {
      get protocol() {
        return piece.protocol;
      },
      get progress() {
        return piece.progress;
      },
      get remaining() {
        return piece.remaining;
      },
      get others() {
        return others(piece);
      },
    };
    const piece = new MovingPiece({
      first: outcome.prize,
      range: clipByteRange(request.range, outcome.prize.download.piece.length),
      signal,
      now: this.#now,
      ask: (protocol, range, ending) => this.#askRest(known, protocol, { request, range, ending }),
      judge: () => (this.#init.mode === "auto" ? judgeRun(run, { record, runs }) : undefined),
      rescue: (broken, error) => (canMove(error) ? provenOf(others(broken), record) : undefined),
      onMove: (move, moving) => this.#moved(known, request, { move, from: moving.protocol }),
      onLegEnd: (end) => this.#legEnded(known, end, { concurrency }),
      onDoubled: (length) => observer?.doubled(length),
      onEnd: () => {
        runs.delete(run);
        if (plan.isTrial) record.trialEnded();
      },
    });
    runs.add(run);
    return piece;
  }

  async #askRest(
    known: KnownParent,
    protocol: Protocol,
    rest: {
      readonly request: PieceRequest;
      readonly range: ByteRange;
      readonly ending: AbortSignal;
    },
  ): Promise<Leg> {
    const { request, range, ending } = rest;
    try {
      return await this.#ask(known, protocol, { request: { ...request, range }, signal: ending });
    } catch (error) {
      if (!ending.aborted) this.#failed(known, protocol, error);
      throw error;
    }
  }

  #moved(
    known: KnownParent,
    request: PieceRequest,
    { move, from }: { readonly move: Move; readonly from: Protocol },
  ): void {
    const { hostId } = known.address;
    const { pieceNumber: piece } = request;
    this.#init.logger.debug(
      { parent: hostId, piece, from, to: move.to },
      `piece ${piece} from ${hostId} ${move.reason} over ${from}, asking for the rest over ${move.to}`,
    );
    this.#init.observer?.moved(move);
    if (move.reason === "silent") this.#prober.probe(known, from, request);
  }

  #legEnded(known: KnownParent, end: LegEnd, { concurrency }: { concurrency: number }): void {
    const { protocol, length, contentMs, how } = end;
    const record = known.record.of(protocol);
    record.byteCount += length;
    if (how === "whole") record.pieceCount += 1;
    this.#init.observer?.legEnded(end);
    const isTelling = how === "left" || (how === "whole" && length >= MEASURED_LENGTH_MIN);
    if (!isTelling) return;
    const mean = (concurrency + known.runs.size) / 2;
    known.record.measured(protocol, { length, durationMs: contentMs, concurrency: mean });
  }
}

/** The first contact takes longer than a LAN's. */
class SlowContact extends Error {}

function provenOf(protocols: readonly Protocol[], record: ParentRecord): Protocol | undefined {
  return protocols.find((protocol) => record.of(protocol).isProven);
}

function addressKey({ ip, ports, quinn }: ParentAddress): string {
  return JSON.stringify([ip, ports, quinn?.port]);
}
