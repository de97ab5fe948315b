import { isIP } from "node:net";
import type { PeerExtension__Output, SyncPiecesResponse__Output } from "@damselfly/rpc";
import type { ParentAddress } from "@damselfly/transport";
import { readPeerKey } from "../data-plane/known-peers.ts";
import { DaemonError } from "../errors.ts";
import { messageOf } from "../message-of.ts";
import type { CandidateParent } from "../scheduling/scheduler-link.ts";
import type { ParentChannel, ParentEvent } from "./parent-channel.ts";
import type { UploadClients } from "./upload-clients.ts";

export interface RpcParentChannelOptions {
  readonly clients: UploadClients;
  /** Our own, sent along: the parent logs it and binds it to our certificate. */
  readonly hostId: string;
  /**
   * Our quinn key, for parents to let us in; undefined: that backend is not used. To be given only where `clients` shows
   * and sees certificates, or where nobody has any.
   */
  readonly quinnKey?: Uint8Array | undefined;
}

/** Parents over DfdaemonUpload's SyncPieces. */
export class RpcParentChannel implements ParentChannel {
  readonly #options: RpcParentChannelOptions;

  constructor(options: RpcParentChannelOptions) {
    this.#options = options;
  }

  async *syncPieces(
    parent: CandidateParent,
    query: {
      readonly taskId: string;
      readonly pieceNumbers: readonly number[];
      readonly contentVersion: string;
      readonly signal: AbortSignal;
    },
  ): AsyncGenerator<ParentEvent, void, undefined> {
    const { clients, hostId, quinnKey } = this.#options;
    const { taskId, pieceNumbers, contentVersion, signal } = query;
    const held = clients.acquire(parent);
    try {
      const request = {
        hostId,
        taskId,
        interestedPieceNumbers: [...pieceNumbers],
        extension: { version: 1, contentVersion, ...(quinnKey === undefined ? {} : { quinnKey }) },
      };
      let met = false;
      for await (const response of held.client.syncPieces(request, { signal })) {
        if (!met) {
          yield {
            kind: "address",
            address: addressOf(parent, response, { contentVersion, quinn: quinnKey !== undefined }),
          };
          met = true;
        }
        // A message without bytes only introduces the parent: it has no piece yet.
        if (response.length > 0)
          yield {
            kind: "piece",
            number: response.number,
            offset: response.offset,
            length: response.length,
          };
      }
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof DaemonError) throw error;
      throw new DaemonError(
        "ERR_PARENT",
        `Cannot learn what ${parent.hostId} has: ${messageOf(error)}`,
        { cause: error },
      );
    } finally {
      held.release();
    }
  }
}

/** Where the parent's pieces are, and whether we may and can take them. */
function addressOf(
  parent: CandidateParent,
  response: SyncPiecesResponse__Output,
  ours: { readonly contentVersion: string; readonly quinn: boolean },
): ParentAddress {
  const { extension } = response;
  if (extension === null) {
    throw new DaemonError(
      "ERR_PARENT",
      `Cannot use parent ${parent.hostId}: it offers none of our transports, only Dragonfly's`,
    );
  }
  if (extension.contentVersion !== ours.contentVersion) {
    throw new DaemonError(
      "ERR_PARENT",
      `Cannot use parent ${parent.hostId}: it has another version of the file`,
    );
  }
  const ip = response.ip === "" ? parent.ip : response.ip;
  if (isIP(ip) === 0)
    throw new DaemonError(
      "ERR_PARENT",
      `Cannot use parent ${parent.hostId}: its address is '${ip}', expected an IP`,
    );
  const quinn = ours.quinn ? quinnOf(extension) : undefined;
  return {
    hostId: parent.hostId,
    ip,
    hostname: parent.hostname,
    ports: portsOf(extension),
    ...(quinn === undefined ? {} : { quinn }),
  };
}

function quinnOf({ transports, quinnKey }: PeerExtension__Output): ParentAddress["quinn"] {
  const [port] = transports.find(({ protocol }) => protocol === "quinn")?.ports ?? [];
  const key = readPeerKey(quinnKey);
  if (key === undefined || port === undefined || port === 0 || port > 65_535) return undefined;
  return { port, key };
}

function portsOf(extension: PeerExtension__Output): ParentAddress["ports"] {
  const ports = (protocol: string): number[] =>
    extension.transports
      .filter((offer) => offer.protocol === protocol)
      .flatMap((offer) => offer.ports)
      .filter((port) => port > 0 && port < 65_536);
  const [quic, [grpc], [tcp]] = [ports("quic"), ports("grpc"), ports("tcp")];
  return {
    ...(quic.length === 0 ? {} : { quic }),
    ...(grpc === undefined ? {} : { grpc }),
    ...(tcp === undefined ? {} : { tcp }),
  };
}
