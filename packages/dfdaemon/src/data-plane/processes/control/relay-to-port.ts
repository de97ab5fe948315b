import { connect, type Socket } from "node:net";
import type { ServerAddress } from "@damselfly/transport";

/**
 * Passes a connection on to a port of this very machine, byte by byte. For the few that come to the wrong port: a socket that has been
 * read from cannot be handed to another process.
 */
export function relayToPort(socket: Socket, { ip, port }: ServerAddress): void {
  const target = connect({ host: loopbackOf(ip), port, allowHalfOpen: true });
  const end = (): void => {
    socket.destroy();
    target.destroy();
  };
  for (const side of [socket, target]) {
    side.on("error", end);
    side.once("close", end);
  }
  socket.pipe(target);
  target.pipe(socket);
}

function loopbackOf(ip: string): string {
  if (ip === "0.0.0.0") return "127.0.0.1";
  return ip === "::" ? "::1" : ip;
}
