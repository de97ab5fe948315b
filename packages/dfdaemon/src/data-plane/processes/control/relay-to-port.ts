import { connect, type Socket } from "node:net";
import { pipeline } from "node:stream";
import type { ServerAddress } from "@damselfly/transport";

/**
 * Passes a connection on to a port of this very machine, byte by byte. For the few that come to the wrong port: a socket that has been
 * read from cannot be handed to another process.
 */
export function relayToPort(socket: Socket, { ip, port }: ServerAddress): void {
  const target = connect({ host: loopbackOf(ip), port, allowHalfOpen: true });
  // Each way ends by itself, so that what is still queued goes out; one that breaks off takes both sockets with it.
  const onEnd = (error: unknown): void => {
    if (error === undefined || error === null) return;
    socket.destroy();
    target.destroy();
  };
  pipeline(socket, target, onEnd);
  pipeline(target, socket, onEnd);
}

function loopbackOf(ip: string): string {
  if (ip === "0.0.0.0") return "127.0.0.1";
  return ip === "::" ? "::1" : ip;
}
