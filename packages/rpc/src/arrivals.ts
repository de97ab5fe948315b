import { AddressRates, HalfOpen } from "@damselfly/limits";
import type { Http2Session } from "node:http2";
import type { Socket } from "node:net";
import { performance } from "node:perf_hooks";
import type { RpcLimits } from "./rpc-limits.ts";

/** Connections beyond the limit whose calls are answered. Those beyond even that are not accepted. */
const REFUSABLE_COUNT_MAX = 100;

/** Accepted connections, and how far they have come: those that have not been greeted by then are cut off. */
export class Arrivals {
  /** Every connection, less those that somebody else took over. */
  readonly sockets: Set<Socket> = new Set();
  /** Those that speak HTTP/2, until they have closed. */
  readonly sessions: Set<Http2Session> = new Set();
  /** How many the system may accept, beyond all other limits. */
  readonly countMax: number;
  readonly #rates: AddressRates;
  readonly #halfOpen: HalfOpen<Socket>;
  /** By its other end: TLS makes another socket of it, which shows the same. */
  readonly #byName = new Map<string, Socket>();
  /** The one that is being handed on at this moment. */
  #current: Socket | undefined;

  /** Takes it from here. */
  onReady: (socket: Socket) => void = (socket) => socket.destroy();

  constructor(limits: RpcLimits) {
    const { connectionCountMax, halfOpenCountMax, halfOpenMs } = limits;
    this.countMax = connectionCountMax + halfOpenCountMax + REFUSABLE_COUNT_MAX;
    this.#rates = new AddressRates(limits.connectionsPerSecondMax);
    this.#halfOpen = new HalfOpen({ countMax: halfOpenCountMax, timeoutMs: halfOpenMs });
  }

  accept(socket: Socket): void {
    const { remoteAddress } = socket;
    if (!this.#rates.take(remoteAddress ?? "", performance.now())) {
      socket.destroy();
      return;
    }
    const name = nameOf(socket);
    this.sockets.add(socket);
    this.#byName.set(name, socket);
    this.#halfOpen.enter(socket);
    socket.once("close", () => {
      this.release(socket);
      if (this.#byName.get(name) === socket) this.#byName.delete(name);
    });
    socket.on("error", () => {}); // a connection that breaks ends its calls; there is no more to say
    // A plain one on a unix socket is known by nothing but the moment.
    this.#current = socket;
    this.onReady(socket);
    this.#current = undefined;
  }

  /** It is somebody else's from now on. */
  release(socket: Socket): void {
    this.sockets.delete(socket);
    this.#halfOpen.leave(socket);
  }

  /** A session has been made of a connection. @returns to be called when the other side has greeted */
  begun(session: Http2Session): () => void {
    const socket = this.#current ?? this.#byName.get(nameOf(session.socket));
    this.sessions.add(session);
    session.once("close", () => this.sessions.delete(session));
    return () => {
      if (socket !== undefined) this.#halfOpen.leave(socket);
    };
  }
}

/** A connection's other end. */
function nameOf({
  remoteAddress,
  remotePort,
}: Pick<Socket, "remoteAddress" | "remotePort">): string {
  return `${remoteAddress} ${remotePort}`;
}
