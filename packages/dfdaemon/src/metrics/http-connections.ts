import { AddressCounts, AddressRates, IdleQueue } from "@damselfly/limits";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { HttpLimits } from "./http-limits.ts";

/** Keeps the connections of an HTTP server within its limits. */
export class HttpConnections {
  readonly #counts: AddressCounts;
  readonly #rates: AddressRates;
  /** Those without a request. */
  readonly #idle = new IdleQueue<Socket>();

  constructor(limits: HttpLimits) {
    const { connectionCountMax: countMax, connectionsPerAddressMax: perAddressMax } = limits;
    this.#counts = new AddressCounts({ countMax, perAddressMax });
    this.#rates = new AddressRates(limits.requestsPerSecondMax);
  }

  watch(server: Server): void {
    server.on("connection", (socket) => this.#enter(socket));
    server.prependListener("request", (request, response) => this.#begin(request, response));
  }

  /** Whether another request may be answered to this caller. */
  mayAsk({ socket }: IncomingMessage): boolean {
    return this.#rates.take(socket.remoteAddress ?? "", performance.now());
  }

  #enter(socket: Socket): void {
    const { remoteAddress: ip = "" } = socket;
    const excess = this.#counts.excess(ip);
    if (excess !== undefined) {
      const stale = this.#idle.oldest(excess === "address" ? ip : undefined);
      if (stale === undefined) {
        socket.destroy();
        return;
      }
      this.#idle.delete(stale);
      stale.destroy();
    }
    const release = this.#counts.add(ip);
    this.#idle.add(socket, ip);
    socket.once("close", () => {
      this.#idle.delete(socket);
      release();
    });
  }

  #begin({ socket }: IncomingMessage, response: ServerResponse): void {
    this.#idle.delete(socket);
    response.once("close", () => {
      if (!socket.destroyed) this.#idle.add(socket, socket.remoteAddress ?? "");
    });
  }
}
