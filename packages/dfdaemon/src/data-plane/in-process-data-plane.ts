import type { PieceRecord, Storage } from "@damselfly/storage";
import {
  TransportError,
  type Downloader,
  type PieceDownload,
  type PieceServer,
  type Protocol,
} from "@damselfly/transport";
import { codeOf } from "../code-of.ts";
import { countBytes } from "../count-bytes.ts";
import { SILENT_LOGGER, type Logger } from "../logger.ts";
import { messageOf } from "../message-of.ts";
import { toError } from "../to-error.ts";
import type { DataPlane, PieceFetch, QuinnOffer, TransportOffer } from "./data-plane.ts";

/** A protocol that did not get through to a parent is left out for this long. Milliseconds. */
const DETOUR_MS = 60_000;
/** Parents remembered for that; one more forgets the oldest. */
const DETOUR_COUNT_MAX = 10_000;

/** The data plane inside this very process: for tests and small machines. Owns what it is given. */
export class InProcessDataPlane implements DataPlane {
  readonly storage: Storage;
  readonly offers: readonly TransportOffer[];
  readonly quinn: QuinnOffer | undefined;
  readonly #servers: readonly PieceServer[];
  readonly #downloaders: readonly Downloader[];
  readonly #detours = new Map<string, number>();
  readonly #logger: Logger;

  constructor(parts: {
    readonly storage: Storage;
    readonly servers: readonly PieceServer[];
    readonly quinn?: (QuinnOffer & { readonly server: PieceServer }) | undefined;
    /** In order of preference: the first whose protocol a parent offers, and that gets through, is used. */
    readonly downloaders: readonly Downloader[];
    readonly tls: boolean;
    readonly logger?: Logger;
  }) {
    this.#logger = parts.logger ?? SILENT_LOGGER;
    this.storage = parts.storage;
    this.quinn = parts.quinn;
    const quinnServer = parts.quinn?.server;
    this.#servers = [...parts.servers, ...(quinnServer === undefined ? [] : [quinnServer])];
    this.#downloaders = parts.downloaders;
    this.offers = parts.servers.map(({ protocol, address }) => ({
      protocol,
      ports: [address.port],
      tls: parts.tls,
    }));
  }

  async fetchPiece(fetch: PieceFetch): Promise<PieceRecord> {
    const { task, pieceNumber, parent, expectedDigest, onBytes } = fetch;
    await using download = await this.#download(fetch);
    const { piece } = download;
    const bounds = task.bounds(pieceNumber);
    if (
      piece.number !== pieceNumber ||
      piece.offset !== bounds.offset ||
      piece.length !== bounds.length
    ) {
      const told = `piece ${piece.number}, ${piece.length} bytes at ${piece.offset}`;
      const wanted = `piece ${pieceNumber}, ${bounds.length} bytes at ${bounds.offset}`;
      throw refusal(parent.hostId, `it announced ${told}, expected ${wanted}`);
    }
    if (piece.digest === "") {
      throw refusal(parent.hostId, `it announced piece ${pieceNumber} without a digest`);
    }
    if (expectedDigest !== undefined && piece.digest !== expectedDigest) {
      throw refusal(
        parent.hostId,
        `it says piece ${pieceNumber} is ${piece.digest}, who read the origin says ${expectedDigest}`,
      );
    }
    const draft = {
      number: pieceNumber,
      digest: piece.digest,
      trafficType: "REMOTE_PEER" as const,
      parentId: parent.hostId,
    };
    const { content } = download;
    return await task.writePiece(
      draft,
      onBytes === undefined ? content : countBytes(content, onBytes),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#downloaders.map((downloader) => downloader[Symbol.asyncDispose]()));
    await Promise.all(this.#servers.map((server) => server[Symbol.asyncDispose]()));
    await this.storage[Symbol.asyncDispose]();
  }

  /** Over the first protocol that gets through to the parent. */
  async #download({ task, pieceNumber, parent, signal }: PieceFetch): Promise<PieceDownload> {
    const { length: expectedLength } = task.bounds(pieceNumber);
    const request = { taskId: task.facts.taskId, pieceNumber, expectedLength };
    const offered = this.#downloaders.filter(({ protocol }) => offers(parent, protocol));
    const usable = offered.filter(({ protocol }) => !this.#isDetoured(parent.hostId, protocol));
    let failure: Error | undefined;
    for (const downloader of usable.length > 0 ? usable : offered) {
      try {
        return await downloader.downloadPiece(parent, request, { signal });
      } catch (error) {
        if (codeOf(error) !== "ERR_PARENT_UNREACHABLE") throw error;
        failure = toError(error);
        this.#detour(parent.hostId, downloader.protocol, failure);
      }
    }
    if (failure !== undefined) throw failure;
    const ours = this.#downloaders.map(({ protocol }) => protocol).join(", ");
    throw new TransportError(
      "ERR_PARENT_UNREACHABLE",
      `Cannot fetch from ${parent.hostId}: it serves none of ${ours}`,
    );
  }

  #isDetoured(hostId: string, protocol: Protocol): boolean {
    return (this.#detours.get(`${protocol} ${hostId}`) ?? 0) > Date.now();
  }

  #detour(hostId: string, protocol: Protocol, failure: Error): void {
    // Several pieces fail at once; one line is enough.
    if (!this.#isDetoured(hostId, protocol)) {
      const seconds = DETOUR_MS / 1000;
      this.#logger.warn(
        { parent: hostId, protocol },
        `${protocol} does not get through, leaving it out for ${seconds} s: ${messageOf(failure)}`,
      );
    }
    const [oldest] = this.#detours.keys();
    if (this.#detours.size >= DETOUR_COUNT_MAX && oldest !== undefined)
      this.#detours.delete(oldest);
    this.#detours.set(`${protocol} ${hostId}`, Date.now() + DETOUR_MS);
  }
}

function offers({ ports, quinn }: PieceFetch["parent"], protocol: Protocol): boolean {
  if (protocol !== "quic") return ports[protocol] !== undefined;
  return (ports.quic?.length ?? 0) > 0 || quinn !== undefined;
}

function refusal(hostId: string, reason: string): TransportError {
  return new TransportError("ERR_PROTOCOL", `Cannot fetch from ${hostId}: ${reason}`);
}
