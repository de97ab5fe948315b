import { setImmediate } from "node:timers/promises";
import {
  DEFAULT_QUIC_LIMITS,
  openQuicEndpoint,
  type QuicAddress,
  type QuicConnection,
  type QuicEndpoint,
  type QuicLimits,
} from "@damselfly/quic";
import {
  type Datagram,
  MemoryNetwork,
  openInitial,
  pattern,
  readAll,
  sealInitial,
  serveEcho,
} from "@damselfly/quic/testing";
import { ChoiceWriter, Choices } from "../engine/choices.ts";
import {
  assertHolds,
  BrokenPromise,
  type FuzzTarget,
  type OpenTarget,
} from "../engine/fuzz-target.ts";
import { ClientHello, TRANSPORT_PARAMETERS } from "./client-hello.ts";

/**
 * What anybody can send to a UDP port: rubbish, datagrams of others cut, bent, doubled and put together, and Initial packets that are
 * properly protected, as their keys are no secret, around frames and TLS messages of any kind. Nothing of it may harm the endpoint, nor
 * the connection that it has; and nobody gets more than three times what he has sent before his address is proven.
 */
export const quicDatagrams: FuzzTarget = {
  name: "quic-datagrams",
  summary:
    "datagrams at a QUIC endpoint: its connections live on, nothing is amplified, memory is flat",
  unit: "datagrams",
  lengthMax: 4_096,
  groupLength: 8,
  isConcurrent: false,
  open: async () => await DatagramFuzz.open(),
};

const SERVER: QuicAddress = { ip: "127.0.0.1", port: 4006 };
const CLIENT: QuicAddress = { ip: "127.0.0.1", port: 5000 };
/** Where what is made up comes from. */
const STRANGERS: readonly QuicAddress[] = Array.from({ length: 64 }, (_, index) => ({
  ip: `10.9.${index >> 3}.${index & 7}`,
  port: 1000 + index,
}));
/** An answer may have three times the bytes of what came (RFC 9000, section 8). */
const AMPLIFICATION_MAX = 3;
const DATAGRAM_COUNT_MAX = 16;
/** Half-open connections live for ten seconds: beyond this many the server is opened anew. */
const CONNECTION_COUNT_MAX = 1_000;
const LIVE_COUNT_MAX = 64;

/** So that what is made up gets as far as it can, instead of being too much too fast. */
const GENEROUS: Partial<QuicLimits> = {
  connectionCountMax: 100_000,
  halfOpenCountMax: 100_000,
  retryHalfOpenCount: 100_000,
  halfOpenPerAddressMax: 100_000,
  handshakesPerSecondMax: 1_000_000,
};

class DatagramFuzz implements OpenTarget {
  readonly examples: readonly Uint8Array[];
  readonly #network = new MemoryNetwork();
  /** What a good client and the server have sent each other, from the first datagram on. */
  readonly #recorded: readonly Buffer[];
  readonly #hello: ClientHello;
  /** The same of the connection that is there, the latest ones. */
  #live: Datagram[] = [];
  readonly #received = new Map<string, number>();
  readonly #sent = new Map<string, number>();
  #server: QuicEndpoint;
  #client: QuicEndpoint;
  #connection: QuicConnection;
  #openCount = 0;

  private constructor(parts: {
    readonly recorded: readonly Buffer[];
    readonly server: QuicEndpoint;
    readonly client: QuicEndpoint;
    readonly connection: QuicConnection;
    readonly network: MemoryNetwork;
  }) {
    this.#recorded = parts.recorded;
    this.#server = parts.server;
    this.#client = parts.client;
    this.#connection = parts.connection;
    this.#network = parts.network;
    const payload = helloOf(parts.recorded);
    this.#hello = ClientHello.decode(payload.subarray(CRYPTO_HEADER_LENGTH));
    this.examples = createExamples(payload, this.#hello);
    this.#network.onDatagram = (datagram) => this.#watch(datagram);
  }

  static async open(): Promise<DatagramFuzz> {
    const network = new MemoryNetwork();
    const recorded: Buffer[] = [];
    network.onDatagram = ({ bytes }) => {
      if (recorded.length < 40) recorded.push(bytes);
      return true;
    };
    const server = await openServer(network, {});
    const client = await openQuicEndpoint({ ...common(network), address: CLIENT });
    const connection = await client.dial(SERVER);
    await echo(connection);
    return new DatagramFuzz({ recorded, server, client, connection, network });
  }

  async run(input: Uint8Array): Promise<number> {
    const choices = new Choices(input);
    let count = 0;
    while (!choices.isOver && count < DATAGRAM_COUNT_MAX) {
      const datagram = this.#decode(choices);
      count++;
      if (datagram.bytes.byteLength === 0) continue; // there is nothing to receive
      add(this.#received, datagram.from, datagram.bytes.byteLength);
      this.#network.inject(datagram);
      // Some come together, some after what came before has been seen to.
      if (choices.below(2) === 1) await setImmediate();
    }
    for (let turn = 0; turn < 3; turn++) await setImmediate();
    if (this.#server.connectionCount > CONNECTION_COUNT_MAX) await this.#openAnew();
    return Math.max(1, count);
  }

  async check(): Promise<void> {
    for (const [key, sent] of this.#sent) {
      const received = this.#received.get(key) ?? 0;
      assertHolds(
        sent <= AMPLIFICATION_MAX * received,
        () => `${key} has sent ${received} bytes and was sent ${sent}`,
      );
    }
    if (!this.#connection.isOpen) {
      throw new BrokenPromise(`it ended: ${JSON.stringify(await this.#connection.closed)}`);
    }
    await echo(this.#connection);
    const other = await this.#client.dial(SERVER);
    await echo(other);
    other.close(0);
    await this.#openAnew();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.abort();
    await this.#server.abort();
  }

  #decode(choices: Choices): Datagram {
    const kind = choices.below(8);
    const isToClient = choices.below(8) === 7;
    const to = isToClient ? CLIENT : SERVER;
    const stranger = choices.pick(STRANGERS);
    const from = choices.below(4) === 3 ? (isToClient ? SERVER : CLIENT) : stranger;
    return { bytes: this.#decodeBytes(kind, choices), from, to };
  }

  #decodeBytes(kind: number, choices: Choices): Buffer {
    switch (kind) {
      case 0:
        return Buffer.from(choices.block());
      case 1:
        return padded(Buffer.from(choices.block()), 1200 + choices.below(256));
      case 2:
        return decodeInitial(choices, (frames) => frames);
      case 3:
        return decodeInitial(choices, (data) => this.#helloWith(data, choices));
      case 4:
        return bend(choices.pick(this.#recorded), choices);
      case 5: {
        const first = choices.pick(this.#recorded);
        return Buffer.concat([bend(first, choices), bend(choices.pick(this.#recorded), choices)]);
      }
      case 6:
        return this.#live.length === 0
          ? Buffer.alloc(0)
          : Buffer.from(choices.pick(this.#live).bytes);
      default:
        return this.#live.length === 0
          ? Buffer.alloc(0)
          : bend(choices.pick(this.#live).bytes, choices);
    }
  }

  /** A good hello but for one extension, which is there instead of one of its own, or besides them. */
  #helloWith(data: Uint8Array, choices: Choices): Buffer {
    const { extensions } = this.#hello;
    const parameters = extensions.findIndex(({ type }) => type === TRANSPORT_PARAMETERS);
    const which = choices.byte();
    const index = which < 128 ? parameters : which % (extensions.length + 1);
    const type = extensions[index]?.type ?? choices.u16();
    const bent = extensions.toSpliced(index, 1, { type, data });
    const message = this.#hello.encode(bent).subarray(0, MESSAGE_LENGTH_MAX);
    return cryptoFrame(message);
  }

  /** Counts what strangers are sent, and keeps what the good ones say. */
  #watch(datagram: Datagram): boolean {
    const { from, to, bytes } = datagram;
    const isStranger = to.ip !== "127.0.0.1";
    if (from.port === SERVER.port && isStranger) add(this.#sent, to, bytes.byteLength);
    if (!isStranger && (from.port === CLIENT.port || to.port === CLIENT.port)) {
      this.#live.push({ ...datagram, bytes: Buffer.from(bytes) });
      if (this.#live.length > LIVE_COUNT_MAX) this.#live.shift();
    }
    return true;
  }

  /** Every other time with the limits that a daemon has. The peers of the old one learn of it by themselves. */
  async #openAnew(): Promise<void> {
    await this.#client.abort();
    await this.#server.abort();
    await setImmediate();
    this.#live = [];
    this.#sent.clear();
    this.#received.clear();
    const limits = this.#openCount++ % 2 === 0 ? GENEROUS : DEFAULT_QUIC_LIMITS;
    this.#server = await openServer(this.#network, limits);
    this.#client = await openQuicEndpoint({ ...common(this.#network), address: CLIENT });
    this.#connection = await this.#client.dial(SERVER);
    await echo(this.#connection);
  }
}

function common(
  network: MemoryNetwork,
): Pick<
  Parameters<typeof openQuicEndpoint>[0],
  "alpn" | "tls" | "udp" | "packetLength" | "earlyData" | "idleTimeoutMs"
> {
  return {
    alpn: "fuzz",
    tls: "insecure",
    udp: network.open,
    packetLength: 1350,
    earlyData: true,
    idleTimeoutMs: 3_600_000,
  };
}

async function openServer(
  network: MemoryNetwork,
  limits: Partial<QuicLimits>,
): Promise<QuicEndpoint> {
  return await openQuicEndpoint({ ...common(network), address: SERVER, limits, accept: serveEcho });
}

async function echo(connection: QuicConnection): Promise<void> {
  const stream = connection.openStream();
  const content = pattern(20_000);
  const [echoed] = await Promise.all([readAll(stream), stream.end(content)]);
  assertHolds(echoed.equals(content), "other bytes come back");
}

function add(counts: Map<string, number>, { ip, port }: QuicAddress, length: number): void {
  const key = `${ip} ${port}`;
  counts.set(key, (counts.get(key) ?? 0) + length);
}

function padded(bytes: Buffer, length: number): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(Math.max(0, length - bytes.byteLength))]);
}

/** A datagram with some bytes changed, cut short or made longer. */
function bend(datagram: Buffer, choices: Choices): Buffer {
  const bent = Buffer.from(datagram);
  for (let count = choices.below(4); count > 0; count--) {
    const at = choices.below(bent.byteLength);
    bent[at] = (bent[at] ?? 0) ^ choices.byte();
  }
  const length = choices.byte();
  if (length < 128) return bent;
  return length < 192 ? bent.subarray(0, choices.below(bent.byteLength)) : padded(bent, 1200);
}

const IDS: readonly number[] = [16, 8, 20, 0, 1, 7, 18, 12];

function decodeInitial(choices: Choices, toPayload: (block: Uint8Array) => Uint8Array): Buffer {
  const destinationId = Buffer.alloc(choices.pick(IDS), choices.byte());
  const sourceId = Buffer.alloc(choices.pick(IDS), choices.byte());
  const token = choices.below(4) === 3 ? choices.block() : new Uint8Array(0);
  const packetNumber = choices.below(4) === 3 ? choices.u32() : choices.below(4);
  const lengthMin = choices.below(8) === 7 ? 0 : 1200;
  const payload = toPayload(choices.block());
  return sealInitial({ destinationId, sourceId, token, packetNumber, lengthMin, payload });
}

/** Type, offset 0, and a length of two bytes (RFC 9000, section 19.6). */
function cryptoFrame(message: Uint8Array): Buffer {
  const { byteLength } = message;
  return Buffer.concat([Buffer.of(0x06, 0, 0x40 | (byteLength >> 8), byteLength), message]);
}

const CRYPTO_HEADER_LENGTH = 4;
const MESSAGE_LENGTH_MAX = 4_000;

function createExamples(payload: Buffer, hello: ClientHello): Uint8Array[] {
  const initial = (kind: number): ChoiceWriter =>
    // To the server, from a stranger; ids of 16 bytes, no token, number 0, padded.
    writeBytes(kind, 0, 1, 0, 0, 7, 0, SOURCE_ID[0] ?? 0, 0, 0, 0);
  const send = (kind: number, from = 0): ChoiceWriter => writeBytes(kind, 0, 5, from);
  const frames = FRAMES.map((frame) => Buffer.from(frame));
  const parameters = hello.extensions.find(({ type }) => type === TRANSPORT_PARAMETERS);
  const own = Buffer.from(parameters?.data ?? []);
  return [
    send(0).block(Buffer.from("rubbish")).finish(),
    send(1).block(Buffer.from("c0babababa08010203040506070800", "hex")).finish(),
    send(4).byte(0).byte(0).byte(0).finish(),
    send(4).byte(1).byte(1).u16(30).byte(1).byte(0).finish(),
    send(5).byte(0).byte(0).byte(0).byte(2).byte(0).byte(0).finish(),
    send(6, 3).byte(3).finish(),
    send(7, 3).byte(3).byte(1).u16(40).byte(255).byte(0).finish(),
    initial(2).block(payload).finish(),
    ...frames.map((frame) => initial(2).block(frame).finish()),
    ...frames.map((frame) =>
      initial(2)
        .block(Buffer.concat([payload, frame]))
        .finish(),
    ),
    initial(3).block(own).byte(0).finish(),
    ...PARAMETERS.map((hex) =>
      initial(3)
        .block(Buffer.concat([own, Buffer.from(hex, "hex")]))
        .byte(0)
        .finish(),
    ),
    // The choice of an extension begins at 128; which one it is follows from their count.
    ...hello.extensions.map(({ data }, index) =>
      initial(3)
        .block(data)
        .byte(128 + index)
        .finish(),
    ),
  ];
}

function writeBytes(...bytes: readonly number[]): ChoiceWriter {
  const writer = new ChoiceWriter();
  for (const byte of bytes) writer.byte(byte);
  return writer;
}

/** Transport parameters with numbers that nobody means (RFC 9000, section 18.2). */
const PARAMETERS: readonly string[] = [
  ["0108ffffffffffffffff", "0308ffffffffffffffff", "03017f", "0408ffffffffffffffff"],
  ["0508ffffffffffffffff", "0808ffffffffffffffff", "0a08ffffffffffffffff", "0a0115"],
  ["0b08ffffffffffffffff", "0e08ffffffffffffffff", "0e0100", "0c00", "0210", "0000", "1000"],
  ["2008ffffffffffffffff", "0f00", "01", "0140ff00", "80001b00", "c0000000ffffffff00"],
].flat();

/** The frames of a good client's first packet, as one would send them whose id is `SOURCE_ID`: it is named in them. */
function helloOf(recorded: readonly Buffer[]): Buffer {
  for (const datagram of recorded) {
    const opened = openInitial(datagram);
    if (opened === undefined) continue;
    const end = opened.payload.findLastIndex((byte) => byte !== 0) + 1;
    const payload = Buffer.from(opened.payload.subarray(0, end));
    const at = payload.indexOf(opened.sourceId);
    if (at >= 0) SOURCE_ID.copy(payload, at);
    return payload;
  }
  throw new Error("no Initial has been recorded");
}

const SOURCE_ID = Buffer.alloc(16, 9);

/** Frames that an Initial may hold, and some that it may not (RFC 9000, section 19). */
const FRAMES: readonly (readonly number[])[] = [
  [0x01],
  [0x02, 0, 0, 0, 0],
  [0x03, 0x40, 0x64, 0, 2, 1, 1, 1, 1, 1, 0, 0, 0],
  [0x06, 0, 4, 1, 0, 0, 0],
  [0x06, 0x80, 0x10, 0, 0, 4, 1, 2, 3, 4],
  [0x1c, 0x0a, 0, 0],
  [0x1d, 0, 0],
  [0x08, 0, 1],
  [0x18, 1, 0, 8, ...Array.from({ length: 24 }, () => 7)],
  [0x1e],
];
