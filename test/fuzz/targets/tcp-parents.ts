import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import type { ParentAddress } from "@damselfly/transport";
import { createTcpDownloader, type TcpDownloader } from "@damselfly/transport-tcp";
import { Choices } from "../engine/choices.ts";
import type { FuzzTarget, OpenTarget } from "../engine/fuzz-target.ts";
import {
  decodeQuestion,
  downloadFrom,
  PARENT_EXAMPLES,
  playAnswer,
  type SentAnswer,
} from "./parent-script.ts";

/** The same as `quic-parents` over TCP, where answers follow each other on one connection. */
export const tcpParents: FuzzTarget = {
  name: "tcp-parents",
  summary: "what hostile parents answer over TCP: a TransportError, or the bytes as announced",
  lengthMax: 512,
  groupLength: 64,
  isConcurrent: true,
  open: async () => await ParentFuzz.open(),
};

const PARENT_COUNT = 64;
/** Waiting is what most of the time would go into. Milliseconds. */
const TIMEOUTS = { connectMs: 5_000, announceMs: 300, stallMs: 300 };

class ParentFuzz implements OpenTarget {
  readonly examples: readonly Uint8Array[] = PARENT_EXAMPLES;
  readonly #downloader: TcpDownloader = createTcpDownloader({ timeouts: TIMEOUTS });
  readonly #parents: readonly HostileParent[];
  #count = 0;

  private constructor(parents: readonly HostileParent[]) {
    this.#parents = parents;
  }

  static async open(): Promise<ParentFuzz> {
    const opening = Array.from({ length: PARENT_COUNT }, () => HostileParent.open());
    return new ParentFuzz(await Promise.all(opening));
  }

  async run(input: Uint8Array): Promise<void> {
    const parent = this.#parents[this.#count++ % PARENT_COUNT]!;
    const choices = new Choices(input);
    const request = decodeQuestion(choices);
    const sent = parent.prepare(choices, request.pieceNumber);
    await downloadFrom(this.#downloader, parent.address, request, () => sent);
  }

  /** A parent that has lied before is believed when it does not. */
  async check(): Promise<void> {
    for (const example of PARENT_EXAMPLES.slice(0, 4)) await this.run(example);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#downloader[Symbol.asyncDispose]();
    for (const parent of this.#parents) await parent.close();
  }
}

class HostileParent {
  readonly address: ParentAddress;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #script:
    | { readonly choices: Choices; readonly pieceNumber: number; readonly sent: SentAnswer[] }
    | undefined;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.address = { hostId: `parent-${port}`, ip: "127.0.0.1", ports: { tcp: port } };
    server.on("connection", (socket) => this.#onConnection(socket));
  }

  static async open(): Promise<HostileParent> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("expected a TCP port");
    return new HostileParent(server, address.port);
  }

  /** The next requests are answered so. @returns what is sent, as it is */
  prepare(choices: Choices, pieceNumber: number): readonly SentAnswer[] {
    const sent: SentAnswer[] = [];
    this.#script = { choices, pieceNumber, sent };
    return sent;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }

  /** Every request is one chunk: the child sends nothing else. */
  #onConnection(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    socket.on("error", () => {}); // the child may have had enough
    socket.once("close", () => this.#sockets.delete(socket));
    socket.on("data", () => void this.#answer(socket));
  }

  async #answer(socket: Socket): Promise<void> {
    const script = this.#script;
    if (script === undefined) return;
    const bytes: Buffer[] = [];
    script.sent.push({ bytes });
    await playAnswer(script.choices, script.pieceNumber, {
      async write(part) {
        bytes.push(Buffer.from(part));
        if (!socket.write(part) && !socket.destroyed) await drained(socket);
      },
      // The connection stays: the end of an answer is where its length says.
      end: async () => {},
      reset: () => void socket.resetAndDestroy(),
      closeConnection: () => void socket.end(),
    });
  }
}

/** Or it is over. */
async function drained(socket: Socket): Promise<void> {
  await new Promise<void>((resolve) => {
    socket.once("drain", resolve);
    socket.once("close", resolve);
  });
}
