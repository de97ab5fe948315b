import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import type { QuicAddress } from "../quic.ts";

/**
 * A UDP relay in front of a server, for one client: it sees every datagram, can hold back what goes beyond a count of
 * flights, and can change the port it sends from, as a NAT does that has forgotten the client.
 *
 * A flight ends where the direction of traffic changes. What must not be needed for an answer is held back rather
 * than delayed: that the answer comes all the same does not depend on any clock.
 */
export class Relay {
  /** What a client dials. */
  readonly address: QuicAddress;
  readonly #target: QuicAddress;
  readonly #front: Socket;
  #back: Socket;
  readonly #backs: Socket[];
  #client: QuicAddress | undefined;
  readonly #held: { readonly isToServer: boolean; readonly datagram: Buffer }[] = [];
  #flightCount = 0;
  #isToServer = false;
  /** Datagrams that would belong to a later flight are held. */
  flightsMax: number = Number.POSITIVE_INFINITY;
  /** Nothing passes, and nothing is held. */
  isCut = false;
  /** Everything the client has sent, in order. */
  readonly fromClient: Buffer[] = [];

  private constructor(target: QuicAddress, front: Socket, back: Socket) {
    this.#target = target;
    this.#front = front;
    this.#back = back;
    this.#backs = [back];
    this.address = { ip: front.address().address, port: front.address().port };
    front.on("message", (datagram, from) => {
      this.#client = { ip: from.address, port: from.port };
      this.fromClient.push(Buffer.from(datagram));
      this.#pass(true, datagram);
    });
    this.#listen(back);
  }

  static async open(target: QuicAddress): Promise<Relay> {
    return new Relay(target, await bind(target.ip), await bind(target.ip));
  }

  get heldCount(): number {
    return this.#held.length;
  }

  get flightCount(): number {
    return this.#flightCount;
  }

  /** From here on the server sees the client at another port; what it sends to the old one is lost. */
  async moveSource(): Promise<void> {
    const back = await bind(this.#target.ip);
    this.#back.removeAllListeners("message");
    this.#back = back;
    this.#backs.push(back);
    this.#listen(back);
  }

  /** Lets everything pass, first what was held. */
  release(): void {
    this.flightsMax = Number.POSITIVE_INFINITY;
    for (const { isToServer, datagram } of this.#held.splice(0)) this.#send(isToServer, datagram);
  }

  /** As if it came from the server. */
  sendToClient(datagram: Buffer): void {
    this.#send(false, datagram);
  }

  async close(): Promise<void> {
    const sockets = [this.#front, ...this.#backs];
    await Promise.all(
      sockets.map((socket) => new Promise<void>((resolve) => socket.close(() => resolve()))),
    );
  }

  #listen(back: Socket): void {
    back.on("message", (datagram) => this.#pass(false, datagram));
  }

  #pass(isToServer: boolean, datagram: Buffer): void {
    if (this.isCut) return;
    const isNewFlight = this.#flightCount === 0 || isToServer !== this.#isToServer;
    if (isNewFlight && this.#flightCount >= this.flightsMax) {
      this.#held.push({ isToServer, datagram });
      return;
    }
    if (isNewFlight) this.#flightCount++;
    this.#isToServer = isToServer;
    this.#send(isToServer, datagram);
  }

  #send(isToServer: boolean, datagram: Buffer): void {
    if (isToServer) this.#back.send(datagram, this.#target.port, this.#target.ip);
    else if (this.#client !== undefined) {
      this.#front.send(datagram, this.#client.port, this.#client.ip);
    }
  }
}

async function bind(ip: string): Promise<Socket> {
  const socket = createSocket(ip.includes(":") ? "udp6" : "udp4").bind(0, ip);
  await once(socket, "listening");
  return socket;
}
