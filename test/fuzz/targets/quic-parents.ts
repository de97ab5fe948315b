import {
  openQuicEndpoint,
  type QuicConnection,
  type QuicEndpoint,
  QuicError,
  type QuicStream,
} from "@damselfly/quic";
import { MemoryNetwork } from "@damselfly/quic/testing";
import type { ParentAddress } from "@damselfly/transport";
import { ALPN, createQuicDownloader, type QuicDownloader } from "@damselfly/transport-quic";
import { Choices } from "../engine/choices.ts";
import type { FuzzTarget, OpenTarget } from "../engine/fuzz-target.ts";
import {
  decodeQuestion,
  downloadFrom,
  PARENT_EXAMPLES,
  playAnswer,
  type SentAnswer,
} from "./parent-script.ts";

/**
 * Parents that answer a child's requests over QUIC with anything: announcements that lie, too much, too little, rubbish, resets, silence,
 * and connections that close in the middle.
 */
export const quicParents: FuzzTarget = {
  name: "quic-parents",
  summary: "what hostile parents answer over QUIC: a TransportError, or the bytes as announced",
  lengthMax: 512,
  groupLength: 64,
  isConcurrent: true,
  open: async () => await ParentFuzz.open(),
};

const FIRST_PORT = 4_100;
const PARENT_COUNT = 16;
/** Waiting is what most of the time would go into. Milliseconds. */
const TIMEOUTS = { connectMs: 5_000, announceMs: 300, stallMs: 300 };

class ParentFuzz implements OpenTarget {
  readonly examples: readonly Uint8Array[] = PARENT_EXAMPLES;
  readonly #downloader: QuicDownloader;
  readonly #parents: HostileParent[];
  #count = 0;

  private constructor(downloader: QuicDownloader, parents: HostileParent[]) {
    this.#downloader = downloader;
    this.#parents = parents;
  }

  static async open(): Promise<ParentFuzz> {
    const network = new MemoryNetwork();
    const parents: HostileParent[] = [];
    for (let count = 0; count < PARENT_COUNT; count++) {
      parents.push(await HostileParent.open(network, FIRST_PORT + count));
    }
    const downloader = createQuicDownloader({
      udp: network.open,
      packetLength: 1350,
      timeouts: TIMEOUTS,
    });
    return new ParentFuzz(downloader, parents);
  }

  async run(input: Uint8Array): Promise<void> {
    const parent = this.#parents[this.#count++ % PARENT_COUNT]!;
    // One after the other at each parent: it is to be known which answer is whose.
    await parent.inTurn(async () => {
      const choices = new Choices(input);
      const request = decodeQuestion(choices);
      const sent = parent.prepare(choices, request.pieceNumber);
      await downloadFrom(this.#downloader, parent.address, request, () => sent);
    });
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
  readonly #endpoint: QuicEndpoint;
  #script:
    | { readonly choices: Choices; readonly pieceNumber: number; readonly sent: SentAnswer[] }
    | undefined;
  #turn: Promise<void> = Promise.resolve();

  private constructor(endpoint: QuicEndpoint) {
    this.#endpoint = endpoint;
    const { ip, port } = endpoint.address;
    this.address = { hostId: `parent-${port}`, ip, ports: { quic: [port] } };
  }

  static async open(network: MemoryNetwork, port: number): Promise<HostileParent> {
    const endpoint = await openQuicEndpoint({
      address: { ip: "127.0.0.1", port },
      alpn: ALPN,
      tls: "insecure",
      udp: network.open,
      packetLength: 1350,
      idleTimeoutMs: 10_000,
      limits: { handshakesPerSecondMax: 1_000_000 },
      accept: (connection) => {
        connection.onStream = (stream) => void parent.#answer(stream, connection);
      },
    });
    const parent = new HostileParent(endpoint);
    return parent;
  }

  async inTurn(work: () => Promise<void>): Promise<void> {
    const before = this.#turn;
    const done = before.then(work);
    this.#turn = done.catch(() => undefined);
    await done;
  }

  /** The next requests are answered so. @returns what is sent, as it is */
  prepare(choices: Choices, pieceNumber: number): readonly SentAnswer[] {
    const sent: SentAnswer[] = [];
    this.#script = { choices, pieceNumber, sent };
    return sent;
  }

  async close(): Promise<void> {
    await this.#endpoint.abort();
  }

  async #answer(stream: QuicStream, connection: QuicConnection): Promise<void> {
    const script = this.#script;
    if (script === undefined) return;
    const bytes: Buffer[] = [];
    script.sent.push({ bytes });
    try {
      await playAnswer(script.choices, script.pieceNumber, {
        async write(part) {
          bytes.push(Buffer.from(part));
          await stream.write(part);
        },
        end: () => stream.end(),
        reset: () => stream.reset(7),
        closeConnection: () => connection.close(7),
      });
    } catch (error) {
      if (!(error instanceof QuicError)) throw error; // the child may have had enough
    }
  }
}
