import type { PieceRecord, Storage } from "@damselfly/storage";
import {
  TransportError,
  type Downloader,
  type PieceServer,
  type Protocol,
} from "@damselfly/transport";
import { countBytes } from "../count-bytes.ts";
import type { DataPlane, PieceFetch, TransportOffer } from "./data-plane.ts";

/** The data plane inside this very process: for tests and small machines. Owns what it is given. */
export class InProcessDataPlane implements DataPlane {
  readonly storage: Storage;
  readonly offers: readonly TransportOffer[];
  readonly #servers: readonly PieceServer[];
  readonly #downloaders: readonly Downloader[];

  constructor(parts: {
    readonly storage: Storage;
    readonly servers: readonly PieceServer[];
    /** In order of preference: the first whose protocol a parent offers is used. */
    readonly downloaders: readonly Downloader[];
    readonly tls: boolean;
  }) {
    this.storage = parts.storage;
    this.#servers = parts.servers;
    this.#downloaders = parts.downloaders;
    this.offers = parts.servers.map(({ protocol, address }) => ({
      protocol,
      ports: [address.port],
      tls: parts.tls,
    }));
  }

  async fetchPiece(fetch: PieceFetch): Promise<PieceRecord> {
    const { task, pieceNumber, parent, expectedDigest, signal, onBytes } = fetch;
    const downloader = this.#downloaders.find(({ protocol }) => offers(parent.ports, protocol));
    if (downloader === undefined) {
      const ours = this.#downloaders.map(({ protocol }) => protocol).join(", ");
      throw new TransportError(
        "ERR_PARENT_UNREACHABLE",
        `Cannot fetch from ${parent.hostId}: it serves none of ${ours}`,
      );
    }
    const request = { taskId: task.facts.taskId, pieceNumber };
    await using download = await downloader.downloadPiece(parent, request, { signal });
    const { piece } = download;
    const bounds = task.bounds(pieceNumber);
    if (
      piece.number !== pieceNumber ||
      piece.offset !== bounds.offset ||
      piece.length !== bounds.length
    ) {
      const told = `piece ${piece.number}, ${piece.length} bytes at ${piece.offset}`;
      throw refusal(
        parent.hostId,
        `it announced ${told}, expected piece ${pieceNumber}, ${bounds.length} bytes at ${bounds.offset}`,
      );
    }
    if (piece.digest === "")
      throw refusal(parent.hostId, `it announced piece ${pieceNumber} without a digest`);
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
    return await task.writePiece(
      draft,
      onBytes === undefined ? download.content : countBytes(download.content, onBytes),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#downloaders.map((downloader) => downloader[Symbol.asyncDispose]()));
    await Promise.all(this.#servers.map((server) => server[Symbol.asyncDispose]()));
    await this.storage[Symbol.asyncDispose]();
  }
}

function offers(ports: PieceFetch["parent"]["ports"], protocol: Protocol): boolean {
  return protocol === "quic" ? (ports.quic?.length ?? 0) > 0 : ports[protocol] !== undefined;
}

function refusal(hostId: string, reason: string): TransportError {
  return new TransportError("ERR_PROTOCOL", `Cannot fetch from ${hostId}: ${reason}`);
}
