import { readFile, truncate } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import {
  openQuicEndpoint,
  type QuicAddress,
  type QuicConnection,
  type QuicEndpoint,
} from "@damselfly/quic";
import {
  MemoryNetwork,
  type PacketKeys,
  pattern,
  readAll,
  sealShort,
  serveEcho,
  trafficKeys,
} from "@damselfly/quic/testing";
import { ChoiceWriter, Choices } from "../engine/choices.ts";
import { assertHolds, type FuzzTarget, type OpenTarget } from "../engine/fuzz-target.ts";

/**
 * A peer that is who it says, and then sends frames that no QUIC would: the connection is made by our own engine, its keys are read from
 * the key log, and packets are made by hand from there on. Windows are overrun, streams end twice, ids are retired that never were, frames
 * are of unknown types or end too early. The connection may end of it; the endpoint must not, and serves the others.
 */
export const quicFrames: FuzzTarget = {
  name: "quic-frames",
  summary:
    "frames made by hand in authenticated QUIC connections: only their own connection may end",
  unit: "packets",
  lengthMax: 2_048,
  groupLength: 1,
  isConcurrent: false,
  open: async ({ directory }) => await FrameFuzz.open(join(directory, "keys")),
};

const SERVER: QuicAddress = { ip: "127.0.0.1", port: 4006 };
const HOSTILE: QuicAddress = { ip: "127.0.0.1", port: 5000 };
const GOOD: QuicAddress = { ip: "127.0.0.1", port: 5001 };
const PACKET_COUNT_MAX = 12;
/** Far beyond what the engine has used by then. */
const FIRST_PACKET_NUMBER = 1_000;

class FrameFuzz implements OpenTarget {
  readonly examples: readonly Uint8Array[] = EXAMPLES;
  readonly dictionary: readonly Uint8Array[] = DICTIONARY;
  readonly #keyLogPath: string;
  readonly #network: MemoryNetwork;
  readonly #server: QuicEndpoint;
  readonly #hostile: QuicEndpoint;
  readonly #good: QuicEndpoint;
  readonly #connection: QuicConnection;
  /** The id that the hostile peer's packets go to, of its newest connection. */
  #destinationId: Uint8Array = Buffer.alloc(0);
  /** The engine has had its turn; from now on packets are made by hand. */
  #isByHand = false;

  private constructor(parts: {
    readonly keyLogPath: string;
    readonly network: MemoryNetwork;
    readonly server: QuicEndpoint;
    readonly hostile: QuicEndpoint;
    readonly good: QuicEndpoint;
    readonly connection: QuicConnection;
  }) {
    this.#keyLogPath = parts.keyLogPath;
    this.#network = parts.network;
    this.#server = parts.server;
    this.#hostile = parts.hostile;
    this.#good = parts.good;
    this.#connection = parts.connection;
    this.#network.onDatagram = ({ bytes, from, to }) => {
      if (to.port === HOSTILE.port) this.#destinationId = sourceIdOf(bytes) ?? this.#destinationId;
      return !this.#isByHand || !(from.port === HOSTILE.port || to.port === HOSTILE.port);
    };
  }

  static async open(keyLogPath: string): Promise<FrameFuzz> {
    const network = new MemoryNetwork();
    const common = {
      alpn: "fuzz",
      tls: "insecure" as const,
      udp: network.open,
      packetLength: 1350,
    };
    const idleTimeoutMs = 3_600_000;
    const server = await openQuicEndpoint({
      ...common,
      idleTimeoutMs,
      address: SERVER,
      accept: serveEcho,
      limits: { handshakesPerSecondMax: 1_000_000 },
    });
    // Its connections end by themselves, when nobody hears of it any more.
    const hostile = await openQuicEndpoint({
      ...common,
      address: HOSTILE,
      keyLogPath,
      idleTimeoutMs: 2_000,
    });
    const good = await openQuicEndpoint({ ...common, idleTimeoutMs, address: GOOD });
    const connection = await good.dial(SERVER);
    return new FrameFuzz({ keyLogPath, network, server, hostile, good, connection });
  }

  async run(input: Uint8Array): Promise<number> {
    const choices = new Choices(input);
    const traits = choices.byte();
    const connection = await this.#hostile.dial(SERVER);
    if ((traits & 1) === 1) await echo(connection);
    for (let turn = 0; turn < 2; turn++) await setImmediate();
    const keys = await this.#readKeys();
    this.#isByHand = true;
    let packetNumber = FIRST_PACKET_NUMBER;
    let count = 0;
    while (!choices.isOver && count < PACKET_COUNT_MAX) {
      packetNumber += 1 + (choices.below(8) === 7 ? choices.u16() : 0);
      this.#send(keys, packetNumber, decodePayload(choices));
      if (choices.below(2) === 1) await setImmediate();
      count++;
    }
    for (let turn = 0; turn < 3; turn++) await setImmediate();
    // The peer takes its leave, should the connection be there still.
    this.#send(keys, packetNumber + 1, Buffer.of(0x1c, 0, 0, 0));
    connection.close(0);
    await setImmediate();
    this.#isByHand = false;
    return Math.max(1, count);
  }

  async check(): Promise<void> {
    assertHolds(this.#connection.isOpen, "the connection of another peer has ended");
    await echo(this.#connection);
    const other = await this.#good.dial(SERVER);
    await echo(other);
    other.close(0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#hostile.abort();
    await this.#good.abort();
    await this.#server.abort();
  }

  #send(keys: PacketKeys, packetNumber: number, payload: Uint8Array): void {
    const bytes = sealShort({ destinationId: this.#destinationId, packetNumber, payload, keys });
    this.#network.inject({ bytes, from: HOSTILE, to: SERVER });
  }

  async #readKeys(): Promise<PacketKeys> {
    const log = await readFile(this.#keyLogPath, "utf8");
    await truncate(this.#keyLogPath);
    const secret = [...log.matchAll(/^CLIENT_TRAFFIC_SECRET_0 \w+ (\w+)$/gm)].at(-1)?.[1];
    if (secret === undefined) throw new Error("the key log has no secret");
    return trafficKeys(Buffer.from(secret, "hex"));
  }
}

/** Of a packet with a long header. */
function sourceIdOf(packet: Buffer): Uint8Array | undefined {
  if (((packet[0] ?? 0) & 0x80) === 0) return undefined;
  const at = 6 + (packet[5] ?? 0);
  return packet.subarray(at + 1, at + 1 + (packet[at] ?? 0));
}

async function echo(connection: QuicConnection): Promise<void> {
  const stream = connection.openStream();
  const content = pattern(3_000);
  const [echoed] = await Promise.all([readAll(stream), stream.end(content)]);
  assertHolds(echoed.equals(content), "other bytes come back");
}

/** Frames, one after the other; a count repeats the last one, each time with another number in it where it says so. */
function decodePayload(choices: Choices): Buffer {
  const block = Buffer.from(choices.block()).subarray(0, 1_200);
  const repeat = choices.below(16) === 15 ? 1 + choices.below(400) : 1;
  if (repeat === 1 || block.byteLength === 0) return block;
  const count = Math.min(repeat, Math.floor(1_200 / block.byteLength));
  const stepAt = choices.below(block.byteLength);
  return Buffer.concat(
    Array.from({ length: Math.max(1, count) }, (_, index) => {
      const frame = Buffer.from(block);
      frame[stepAt] = ((frame[stepAt] ?? 0) + index) & 0x3f;
      return frame;
    }),
  );
}

/** One of each type and more (RFC 9000, section 19), in hex; streams are the client's first ones. */
const FRAMES: readonly string[] = [
  "01", // PING
  "0200000000", // ACK of packet 0
  "0243e80000", // ACK of what was never sent
  "023f003f00", // more ranges than there are
  "0300000000010101", // ACK with ECN counts
  "04000400", // RESET_STREAM 0
  "050000", // STOP_SENDING 0
  "06000401000000", // CRYPTO
  "068fffffff0401000000", // CRYPTO far ahead
  "07040a0b0c0d", // NEW_TOKEN
  "0a000161", // STREAM 0
  "0b040162", // STREAM 4 with its end
  "0e04808000000163", // STREAM 4 far beyond its window
  "0f04bfffffff0164", // the same with its end
  "0a010161", // STREAM of the server's, never opened
  "0a020161", // unidirectional
  "0a9fffffff0161", // a stream far away
  "10c0000000ffffffff", // MAX_DATA
  "1100c000000000ffffff", // MAX_STREAM_DATA
  "12d000000000000000", // MAX_STREAMS
  "13d000000000000000",
  "1405", // DATA_BLOCKED
  "150005", // STREAM_DATA_BLOCKED
  "1605", // STREAMS_BLOCKED
  "1705",
  "18010008" + "a1".repeat(8) + "b1".repeat(16), // NEW_CONNECTION_ID
  "18020108" + "a2".repeat(8) + "b2".repeat(16), // that retires others
  "18020214" + "a3".repeat(20) + "b3".repeat(16),
  "18010001a4" + "b4".repeat(16),
  "1900", // RETIRE_CONNECTION_ID
  "1901",
  "193f",
  "1a" + "c1".repeat(8), // PATH_CHALLENGE
  "1b" + "c2".repeat(8), // PATH_RESPONSE
  "1c0a0003414243", // CONNECTION_CLOSE
  "1d0703414243",
  "1e", // HANDSHAKE_DONE, which a client may not send
  "3000", // DATAGRAM
  "31024142",
  "40ff", // no frame
  "ffffffffffffffff",
];

const DICTIONARY: readonly Uint8Array[] = [
  ...FRAMES,
  "3f",
  "7fff",
  "bfffffff",
  "ffffffffffffffff",
  "c000000000000001",
].map((hex) => Buffer.from(hex, "hex"));

const EXAMPLES: readonly Uint8Array[] = [
  ...FRAMES.map((hex) =>
    new ChoiceWriter().byte(1).byte(0).block(Buffer.from(hex, "hex")).byte(0).byte(1).finish(),
  ),
  ...FRAMES.map((hex) =>
    new ChoiceWriter()
      .byte(0)
      .byte(0)
      .block(Buffer.from(hex, "hex"))
      .byte(15)
      .u16(200)
      .byte(1)
      .finish(),
  ),
];
