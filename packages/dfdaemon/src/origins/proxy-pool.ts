import { type Dispatcher, Pool } from "undici";
import { messageOf } from "../message-of.ts";

/**
 * Connections to a proxy, for tunnels through it.
 *
 * A proxy that breaks off while a tunnel is being set up fails the request. undici 7 takes its own error for that (`UND_ERR_SOCKET`) for
 * one of a connection that stood before, and dials again at once, without end (nodejs/undici#3897, mended in 8); so it gets another one.
 */
export function createProxyPool(origin: URL, options: Pool.Options): Dispatcher {
  const pool = new Pool(origin, options);
  const connect = async (tunnel: Dispatcher.ConnectOptions): Promise<Dispatcher.ConnectData> => {
    try {
      return await new Promise((resolve, reject) => {
        Pool.prototype.connect.call(pool, tunnel, (error, data) => {
          if (error === null) resolve(data);
          else reject(error);
        });
      });
    } catch (cause) {
      if (!isBrokenOff(cause)) throw cause;
      throw new Error(`the proxy broke off: ${messageOf(cause)}`, { cause });
    }
  };
  return Object.assign(pool, { connect });
}

function isBrokenOff(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "UND_ERR_SOCKET";
}
