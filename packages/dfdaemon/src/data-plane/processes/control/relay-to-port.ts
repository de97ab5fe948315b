import { connect, type Socket } from "node:net";
import { pipeline } from "node:stream";
import { DEFAULT_SERVER_LIMITS, type ServerAddress } from "@damselfly/transport";

/**
 * Passes a connection on to a port of this very machine, byte by byte. For the few that come to the wrong port: a socket that has been
 * read from cannot be handed to another process.
 *
 * @param stillMs both are cut when nothing moves for so long: that port cannot tell who takes nothing from who is slow. Milliseconds
 */
export function relayToPort(
  socket: Socket,
  { ip, port }: ServerAddress,
  stillMs: number = DEFAULT_SERVER_LIMITS.stallMs,
): void {
  const target = connect({ host: loopbackOf(ip), port, allowHalfOpen: true });
  // Each way ends by itself, so that what is still queued goes out; one that breaks off takes both sockets with it.
  const cut = (): void => {
    socket.destroy();
    target.destroy();
  };
  const onEnd = (error: unknown): void => {
    if (error !== undefined && error !== null) cut();
  };
  pipeline(socket, target, onEnd);
  pipeline(target, socket, onEnd);
  socket.setTimeout(stillMs, cut);
}

function loopbackOf(ip: string): string {
  if (ip === "0.0.0.0") return "127.0.0.1";
  return ip === "::" ? "::1" : ip;
}
