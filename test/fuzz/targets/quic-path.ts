import { performance } from "node:perf_hooks";
import { setImmediate } from "node:timers/promises";
import { openQuicEndpoint, type QuicAddress, type QuicEndpoint, QuicError } from "@damselfly/quic";
import { type Datagram, MemoryNetwork, pattern, readAll, serveEcho } from "@damselfly/quic/testing";
import { Choices } from "../engine/choices.ts";
import { assertHolds, type FuzzTarget, type OpenTarget } from "../engine/fuzz-target.ts";

/**
 * A path between two good endpoints on which datagrams are lost, doubled, delayed, bent, cut, put together, replayed and sent from
 * elsewhere, from the first one of the handshake on. An input says what happens to one datagram after the other; behind its end all of them
 * pass. So a connection must come about, and every byte arrive, whatever happened before.
 */
export const quicPath: FuzzTarget = {
  name: "quic-path",
  summary: "QUIC over a path that mangles datagrams: everything arrives, and as it was",
  unit: "datagrams",
  lengthMax: 512,
  groupLength: 128,
  isConcurrent: true,
  open: async () => await PathFuzz.open(),
};

const SERVER: QuicAddress = { ip: "127.0.0.1", port: 4006 };
const FIRST_PORT = 10_000;
const CONTENT_LENGTH = 30_000;
/** What a handshake may take at the server. Milliseconds. */
const HANDSHAKE_MS = 10_000;
const HISTORY_COUNT_MAX = 16;
/**
 * Of handshakes, which are waited for a second, then two, then four: the server gives up one that is not over after ten. Of the rest so many
 * in a row.
 */
const LOSS_COUNT_MAX = 3;
/** From then on nothing is lost: what is repeated is waited for twice as long each time, and an input has its minute. Milliseconds. */
const LOSS_MS = 5_000;

class PathFuzz implements OpenTarget {
  readonly examples: readonly Uint8Array[] = EXAMPLES;
  readonly #network: MemoryNetwork;
  readonly #server: QuicEndpoint;
  /** By the port of the client. */
  readonly #paths = new Map<number, MangledPath>();
  #nextPort = FIRST_PORT;

  private constructor(network: MemoryNetwork, server: QuicEndpoint) {
    this.#network = network;
    this.#server = server;
    network.onDatagram = (datagram) => {
      const { from, to } = datagram;
      return (
        this.#paths.get(from.port === SERVER.port ? to.port : from.port)?.take(datagram) ?? true
      );
    };
  }

  static async open(): Promise<PathFuzz> {
    const network = new MemoryNetwork();
    const server = await openQuicEndpoint({
      ...optionsOn(network),
      address: SERVER,
      accept: serveEcho,
      limits: { handshakesPerSecondMax: 1_000_000 },
    });
    return new PathFuzz(network, server);
  }

  async run(input: Uint8Array): Promise<number> {
    const startedAtMs = performance.now();
    const port = (this.#nextPort = this.#nextPort >= 60_000 ? FIRST_PORT : this.#nextPort + 1);
    const path = new MangledPath(this.#network, new Choices(input));
    this.#paths.set(port, path);
    const address = { ip: "127.0.0.1", port };
    const client = await openQuicEndpoint({ ...optionsOn(this.#network), address });
    try {
      const connection = await client.dial(SERVER, { timeoutMs: 40_000 });
      const stream = connection.openStream();
      const content = pattern(CONTENT_LENGTH, port);
      const [echoed] = await Promise.all([readAll(stream), stream.end(content)]);
      assertHolds(echoed.equals(content), "other bytes come back");
      connection.close(0);
      return path.count;
    } catch (error) {
      // On a machine that has much else to do time goes by, and the server gives up.
      const isLate = performance.now() - startedAtMs > HANDSHAKE_MS;
      if (isLate && error instanceof QuicError) return path.count;
      throw error;
    } finally {
      await client.abort();
      this.#paths.delete(port);
    }
  }

  async check(): Promise<void> {
    await this.run(new Uint8Array(0));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.abort();
  }
}

function optionsOn(
  network: MemoryNetwork,
): Pick<
  Parameters<typeof openQuicEndpoint>[0],
  "alpn" | "tls" | "udp" | "packetLength" | "idleTimeoutMs"
> {
  return {
    alpn: "fuzz",
    tls: "insecure",
    udp: network.open,
    packetLength: 1350,
    idleTimeoutMs: 40_000,
  };
}

/** What happens on the way between one client and the server. */
class MangledPath {
  readonly #network: MemoryNetwork;
  readonly #choices: Choices;
  readonly #history: Datagram[] = [];
  /** Datagrams that were sent, or made up. */
  count = 0;
  #handshakeLossCount = 0;
  /** Since the last one that has passed. */
  #lossCount = 0;
  readonly #startedAtMs = performance.now();

  constructor(network: MemoryNetwork, choices: Choices) {
    this.#network = network;
    this.#choices = choices;
  }

  /** Whether it passes as it is. */
  take(datagram: Datagram): boolean {
    if (this.#decide(datagram)) {
      this.#lossCount = 0;
      return true;
    }
    if (isOfHandshake(datagram)) return ++this.#handshakeLossCount > LOSS_COUNT_MAX;
    if (performance.now() - this.#startedAtMs > LOSS_MS) return true;
    return ++this.#lossCount > LOSS_COUNT_MAX;
  }

  #decide(datagram: Datagram): boolean {
    this.count++;
    const kept = { ...datagram, bytes: Buffer.from(datagram.bytes) };
    this.#history.push(kept);
    if (this.#history.length > HISTORY_COUNT_MAX) this.#history.shift();
    const choices = this.#choices;
    if (choices.isOver) return true;
    switch (choices.below(12)) {
      case 0:
        return false;
      case 1:
        this.#inject(kept);
        return true;
      case 2:
        void this.#injectLater(kept, 1 + choices.below(64));
        return false;
      case 3:
        this.#inject({ ...kept, bytes: bend(kept.bytes, choices) });
        return choices.below(2) === 0;
      case 4:
        this.#inject({
          ...kept,
          bytes: kept.bytes.subarray(0, choices.below(kept.bytes.byteLength)),
        });
        return choices.below(2) === 0;
      case 5:
        this.#inject({ ...kept, bytes: Buffer.concat([kept.bytes, choices.block()]) });
        return choices.below(2) === 0;
      case 6: {
        const other = choices.pick(this.#history);
        const bytes = Buffer.concat([kept.bytes, other.bytes]).subarray(0, 16_384);
        this.#inject({ ...kept, bytes });
        return choices.below(2) === 0;
      }
      case 7:
        this.#inject(choices.pick(this.#history));
        return true;
      case 8: {
        // The same from somewhere else; what is answered there is lost.
        const port = choices.below(2) === 0 ? 9 : kept.from.port;
        const copy = { ...kept, from: { ip: "127.0.0.2", port } };
        // Of a handshake that began elsewhere nothing is heard here for fifteen seconds.
        if (isOfHandshake(kept)) void this.#injectLater(copy, 1);
        else this.#inject(copy);
        return true;
      }
      default:
        return true;
    }
  }

  #inject(datagram: Datagram): void {
    this.count++;
    if (datagram.bytes.byteLength === 0 || namesVersions(datagram)) return;
    this.#network.inject(datagram);
  }

  async #injectLater(datagram: Datagram, turns: number): Promise<void> {
    for (let turn = 0; turn < turns; turn++) await setImmediate();
    this.#inject(datagram);
  }
}

/** Its header is a long one. */
function isOfHandshake({ bytes }: Datagram): boolean {
  return ((bytes[0] ?? 0) & 0x80) !== 0;
}

/**
 * Whether it says which versions a server has. Nothing protects that, not even a checksum: a client that is told of none that it knows must
 * give up (RFC 9000, section 6.2), whoever says so.
 */
function namesVersions(datagram: Datagram): boolean {
  const { bytes } = datagram;
  return isOfHandshake(datagram) && bytes.byteLength >= 5 && bytes.readUInt32BE(1) === 0;
}

function bend(bytes: Buffer, choices: Choices): Buffer {
  const bent = Buffer.from(bytes);
  for (let count = choices.below(3); count >= 0; count--) {
    const at = choices.below(bent.byteLength);
    bent[at] = (bent[at] ?? 0) ^ (choices.byte() || 1);
  }
  return bent;
}

/** Numbers are those of `take`. */
const EXAMPLES: readonly Uint8Array[] = [
  Uint8Array.of(),
  Uint8Array.of(11, 0),
  Uint8Array.of(1, 1, 1, 1, 1, 1),
  Uint8Array.of(11, 11, 11, 2, 9, 2, 3, 2, 1),
  Uint8Array.of(3, 0, 0, 30, 1, 0, 3, 0, 0, 1, 1, 0, 3, 0, 0, 7, 255, 0),
  Uint8Array.of(4, 0, 100, 0, 4, 1, 0, 0, 4, 0, 9, 0),
  Uint8Array.of(5, 0, 3, 1, 2, 3, 0, 5, 0, 0, 0),
  Uint8Array.of(6, 0, 0, 6, 0, 0, 6, 1, 0, 6, 2, 0),
  Uint8Array.of(11, 7, 0, 7, 0, 7, 1, 7, 2, 7, 0),
  Uint8Array.of(8, 0, 8, 1, 11, 8, 0, 8, 1),
];
