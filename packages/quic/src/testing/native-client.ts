import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { HostPort, NativeConfig, NativeConnection, QuicheBinding } from "../binding.ts";
import { loadQuiche } from "../load-quiche.ts";
import type { QuicAddress, QuicTls } from "../quic.ts";
import { type PacketKeys, sealShort, trafficKeys } from "./handmade-packet.ts";
import type { MemoryNetwork } from "./memory-network.ts";

/** Packets made by hand are numbered from here on: the binding does not come so far. */
const FIRST_PACKET_NUMBER = 1_000;
const PACKET_LENGTH = 1350;

export interface NativeClientOptions {
  readonly address: QuicAddress;
  readonly target: QuicAddress;
  readonly alpn: string;
  /** Default: no certificates, and whatever the server shows. */
  readonly tls?: QuicTls | undefined;
  /** Has the last word in what the client says of itself. */
  readonly configure?: (config: NativeConfig) => void;
}

/**
 * A client that is the bare binding, for what ours never does: it sets no timers, takes any option, and sends packets
 * made by hand between the binding's own.
 */
export class NativeClient {
  readonly native: NativeConnection;
  /** Datagrams so far. */
  readonly sent: Buffer[] = [];
  readonly #options: NativeClientOptions;
  readonly #network: MemoryNetwork;
  readonly #keyLog: string;
  /** What the server wants to be called. */
  #serverId: Buffer | undefined;
  #keys: PacketKeys | undefined;
  #packetNumber = FIRST_PACKET_NUMBER;
  #close: () => Promise<void> = () => Promise.resolve();

  private constructor(
    network: MemoryNetwork,
    options: NativeClientOptions,
    init: { readonly native: NativeConnection; readonly keyLog: string },
  ) {
    this.#network = network;
    this.#options = options;
    this.native = init.native;
    this.#keyLog = init.keyLog;
    this.native.setKeylog(init.keyLog);
  }

  static async open(network: MemoryNetwork, options: NativeClientOptions): Promise<NativeClient> {
    const { address, target } = options;
    const quiche = await loadQuiche();
    const directory = await mkdtemp(join(tmpdir(), "native-client-"));
    const native = quiche.Connection.connect(
      "d7y",
      randomBytes(16),
      toHostPort(address),
      toHostPort(target),
      createConfig(quiche, options),
    );
    const client = new NativeClient(network, options, {
      native,
      keyLog: join(directory, "keys.log"),
    });
    const socket = await network.open({
      address,
      bufferLength: 0,
      onMessage: (datagram) => client.#receive(datagram),
      onError: () => undefined,
      onSmallBuffer: () => undefined,
    });
    client.#close = async () => {
      await socket.close();
      await rm(directory, { recursive: true });
    };
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }

  /** What the binding has to send next. */
  take(): Buffer | undefined {
    const buffer = Buffer.alloc(PACKET_LENGTH);
    const sent = this.native.send(buffer);
    return sent === null ? undefined : buffer.subarray(0, sent[0]);
  }

  send(bytes: Buffer): void {
    this.sent.push(bytes);
    this.#network.inject({ bytes, from: this.#options.address, to: this.#options.target });
  }

  /** Sends what the binding has to send. It does so by itself after each datagram that comes. */
  flush(): void {
    for (let next = this.take(); next !== undefined; next = this.take()) this.send(next);
  }

  /** Sends a 1-RTT packet with these frames, once the handshake is over. */
  async sendFrames(...frames: readonly Uint8Array[]): Promise<void> {
    this.#keys ??= await this.#readKeys();
    if (this.#serverId === undefined) throw new Error("The server has not said its id");
    this.send(
      sealShort({
        destinationId: this.#serverId,
        packetNumber: this.#packetNumber++,
        payload: Buffer.concat(frames),
        keys: this.#keys,
      }),
    );
  }

  async #readKeys(): Promise<PacketKeys> {
    const log = await readFile(this.#keyLog, "utf8");
    const secret = /CLIENT_TRAFFIC_SECRET_0 \S+ (\S+)/.exec(log)?.[1];
    if (secret === undefined) throw new Error("There are no keys yet");
    return trafficKeys(Buffer.from(secret, "hex"));
  }

  #receive(datagram: Buffer): void {
    this.#serverId ??= readSourceId(datagram);
    const { address, target } = this.#options;
    try {
      this.native.recv(datagram, { from: toHostPort(target), to: toHostPort(address) });
    } catch {
      // The binding has noted why, and tells the server now.
    }
    this.flush();
  }
}

function createConfig(
  quiche: QuicheBinding,
  { alpn, tls, configure }: NativeClientOptions,
): NativeConfig {
  const config = quiche.Config.withBoringSslCtx(
    tls !== undefined,
    false,
    tls === undefined ? null : Buffer.from(tls.caCert),
    tls === undefined ? null : [Buffer.from(tls.key)],
    tls === undefined ? null : [Buffer.from(tls.cert)],
    null,
  );
  config.setApplicationProtos([alpn]);
  config.enablePacing(false);
  config.setMaxIdleTimeout(300_000);
  config.setInitialMaxData(2 ** 29);
  config.setInitialMaxStreamDataBidiLocal(2 ** 20);
  config.enableDgram(true, 4, 8);
  config.logKeys();
  configure?.(config);
  return config;
}

/** Of a long header that is not a Retry's; undefined for all others. */
function readSourceId(datagram: Buffer): Buffer | undefined {
  const first = datagram[0] ?? 0;
  if ((first & 0x80) === 0 || (first & 0xf0) === 0xf0) return undefined;
  const lengthAt = 6 + (datagram[5] ?? 0);
  const at = lengthAt + 1;
  return Buffer.from(datagram.subarray(at, at + (datagram[lengthAt] ?? 0)));
}

function toHostPort({ ip, port }: QuicAddress): HostPort {
  return { host: ip, port };
}
