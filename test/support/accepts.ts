import { once } from "node:events";
import { connect } from "node:net";
import { LOOPBACK } from "./daemon.ts";

/** Whether somebody takes connections at this port of the loopback, or at this socket. */
export async function accepts(target: string | number): Promise<boolean> {
  const socket =
    typeof target === "string" ? connect(target) : connect({ host: LOOPBACK, port: target });
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
