import type { Socket } from "node:net";
import type { RpcLogger } from "./logger.ts";
import { DECISIVE_LENGTH, recognizeProtocol, type SpokenProtocol } from "./spoken-protocol.ts";

export interface ConnectionSorterOptions {
  /** Who takes a connection that speaks this, with none of its bytes read; the others are closed. */
  readonly takers: { readonly [Protocol in SpokenProtocol]?: (socket: Socket) => void };
  readonly logger?: RpcLogger | undefined;
}

/** Hands each connection to whoever speaks its protocol, by its first bytes. How long it may take is somebody else's affair. */
export class ConnectionSorter {
  readonly #options: ConnectionSorterOptions;
  /** Said once each: anybody can make us say it. */
  readonly #complaints = new Set<SpokenProtocol>();

  constructor(options: ConnectionSorterOptions) {
    this.#options = options;
  }

  /** Takes over a connection of which nothing has been read. */
  accept(socket: Socket): void {
    // Given back when it is decided, not before: what is given back is announced as new.
    let bytes: Uint8Array = new Uint8Array(0);
    const look = (): void => {
      const chunk: unknown = socket.read();
      if (!(chunk instanceof Uint8Array)) return;
      bytes = Buffer.concat([bytes, chunk]);
      const protocol = recognizeProtocol(bytes.subarray(0, DECISIVE_LENGTH));
      if (protocol === undefined) return;
      forget();
      socket.unshift(bytes);
      this.#pass(socket, protocol);
    };
    const forget = (): void => {
      socket.off("readable", look);
      socket.off("end", end);
      socket.off("close", forget);
    };
    // Not a word more will come of one that has said too little.
    const end = (): void => void socket.destroy();
    socket.on("readable", look);
    socket.once("end", end);
    socket.once("close", forget);
  }

  #pass(socket: Socket, protocol: SpokenProtocol): void {
    const { takers, logger } = this.#options;
    const take = takers[protocol];
    if (take !== undefined) {
      take(socket);
      return;
    }
    if (protocol !== "other" && !this.#complaints.has(protocol)) {
      this.#complaints.add(protocol);
      logger?.warn(
        { peer: socket.remoteAddress },
        `Cannot serve a connection: ${COMPLAINTS[protocol]} (said once)`,
      );
    }
    if (protocol === "tls") answerPlain(socket);
    else socket.destroy();
  }
}

/** Who wanted TLS is told that it is not spoken here, instead of a line that breaks: by HTTP/2's first words. */
function answerPlain(socket: Socket): void {
  const timer = setTimeout(() => socket.destroy(), FAREWELL_MS);
  socket.once("close", () => clearTimeout(timer));
  socket.resume(); // unread bytes would turn the end into a reset
  socket.end(EMPTY_SETTINGS);
}

const FAREWELL_MS = 1_000;
/** RFC 9113, section 6.5: no length, type 4, no flags, stream 0. */
const EMPTY_SETTINGS: Uint8Array = Buffer.from("000000040000000000", "hex");

const COMPLAINTS: Record<Exclude<SpokenProtocol, "other">, string> = {
  tls: "it wants TLS, and this server has no certificate",
  http2: "it speaks without TLS, and this server serves TLS only",
  vortex: "it asks for a piece without TLS, and this server does not serve pieces so",
};
