import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import type { ServerAddress } from "@damselfly/transport";
import { DaemonError } from "../../../errors.ts";
import type { Logger } from "../../../logger.ts";
import { messageOf } from "../../../message-of.ts";

/** Connections that wait to be accepted, as Dragonfly's daemons have it. */
const BACKLOG = 1024;

/**
 * Listens for pieces over TCP in the place of the processes that serve them, so that the port stays open when one of those ends: who
 * connects meanwhile waits instead of being refused. Nothing is read of a connection here.
 */
export interface SocketFront extends AsyncDisposable {
  readonly address: ServerAddress;
}

/**
 * @param options.accept takes over each connection
 * @throws {DaemonError} `ERR_LISTEN`
 */
export async function openSocketFront(options: {
  readonly address: ServerAddress;
  readonly accept: (socket: Socket) => void;
  readonly logger: Logger;
}): Promise<SocketFront> {
  const { address, accept, logger } = options;
  // Half-open, since Dragonfly's children close their half after the request.
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, accept);
  try {
    server.listen({ host: address.ip, port: address.port, backlog: BACKLOG });
    await once(server, "listening");
  } catch (error) {
    throw listenError(address, error);
  }
  server.on("error", (error) => {
    logger.warn({ err: error }, `cannot accept a connection: ${messageOf(error)}`);
  });
  return {
    address: boundAddress(server, address),
    async [Symbol.asyncDispose]() {
      // Not waited for: connections that were handed over are others' to close.
      if (server.listening) server.close();
    },
  };
}

function boundAddress(server: Server, asked: ServerAddress): ServerAddress {
  const bound = server.address();
  if (bound === null || typeof bound === "string") return asked;
  return { ip: bound.address, port: bound.port };
}

function listenError({ ip, port }: ServerAddress, cause: unknown): DaemonError {
  const isInUse = cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE";
  const reason = isInUse ? "another process is serving there" : messageOf(cause);
  return new DaemonError("ERR_LISTEN", `Cannot serve at ${ip} port ${port}: ${reason}`, { cause });
}
