import { once } from "node:events";
import { connect as connectNet, type Socket } from "node:net";

/** Frame types that tests write and read (RFC 9113, section 6). */
export const FrameType = {
  Data: 0,
  Headers: 1,
  Reset: 3,
  Settings: 4,
  Ping: 6,
  GoAway: 7,
  WindowUpdate: 8,
  Continuation: 9,
} as const;

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

export const END_STREAM = 0x1;
export const END_HEADERS = 0x4;
/** RFC 9113, section 6.5.2. */
export const SETTINGS_INITIAL_WINDOW_SIZE = 4;

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const HEADER_LENGTH = 9;
const FRAME_LENGTH_MAX = 16_384;

/** A caller that speaks HTTP/2 frame by frame, and may say what no library would. */
export class RawHttp2 {
  readonly socket: Socket;
  /** All that have come and were not taken, in order. */
  readonly frames: Frame[] = [];
  #bytes = Buffer.alloc(0);
  #nextStreamId = 1;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("error", () => {}); // the server may hang up on it: that is what is looked for
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
  }

  /** Connects and says nothing. */
  static async connect(target: { readonly ip: string; readonly port: number }): Promise<RawHttp2> {
    const socket = connectNet({ host: target.ip, port: target.port });
    const raw = new RawHttp2(socket);
    await once(socket, "connect");
    return raw;
  }

  /** Over a connection that somebody else has made, with TLS for example. */
  static over(socket: Socket): RawHttp2 {
    return new RawHttp2(socket);
  }

  /** Connects, and says what every caller says first. */
  static async greet(
    target: { readonly ip: string; readonly port: number },
    settings: Buffer = Buffer.alloc(0),
  ): Promise<RawHttp2> {
    const raw = await RawHttp2.connect(target);
    raw.greet(settings);
    return raw;
  }

  get isClosed(): boolean {
    return this.socket.destroyed;
  }

  /** Error code of the server's farewell; undefined: it has said none. */
  get goAwayCode(): number | undefined {
    return this.frames.find(({ type }) => type === FrameType.GoAway)?.payload.readUInt32BE(4);
  }

  greet(settings: Buffer = Buffer.alloc(0)): void {
    this.socket.write(Buffer.concat([PREFACE, frame(FrameType.Settings, { payload: settings })]));
  }

  count(type: number, streamId?: number): number {
    return this.frames.filter(
      (each) => each.type === type && (streamId === undefined || each.streamId === streamId),
    ).length;
  }

  /** Resolves with false when the server takes no more for so long. */
  async write(bytes: Uint8Array, timeoutMs = 5_000): Promise<boolean> {
    if (this.isClosed) return false;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), timeoutMs);
    });
    const written = new Promise<boolean>((resolve) => {
      this.socket.write(bytes, (error) => resolve(error === undefined || error === null));
    });
    try {
      return await Promise.race([written, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Begins a call. @returns its stream's id */
  async call(
    path: string,
    options: {
      readonly headers?: readonly (readonly [string, string])[];
      /** What follows the headers, as gRPC frames it. */
      readonly body?: Uint8Array;
      /** Nothing else follows. */
      readonly end?: boolean;
    } = {},
  ): Promise<number> {
    const streamId = this.#nextStreamId;
    this.#nextStreamId += 2;
    const { headers = [], body, end = false } = options;
    const ends = body === undefined && end;
    const frames = [headerFrames(streamId, encodeHeaders(path, headers), ends)];
    if (body !== undefined) frames.push(dataFrames(streamId, body, end));
    await this.write(Buffer.concat(frames));
    return streamId;
  }

  /** Sends as much as the server's windows let through at once; waits for more as long as it grants some. */
  async send(
    streamId: number,
    body: Uint8Array,
    options: { readonly end: boolean },
  ): Promise<void> {
    let sent = 0;
    while (sent < body.byteLength && !this.isClosed) {
      const room = Math.min(
        this.#window(0) - this.#sentLength,
        this.#window(streamId) - (this.#sentLengths.get(streamId) ?? 0),
        FRAME_LENGTH_MAX,
      );
      if (room <= 0) {
        await new Promise((resolve) => setImmediate(resolve));
        continue;
      }
      const part = body.subarray(sent, sent + room);
      sent += part.byteLength;
      const end = options.end && sent === body.byteLength;
      await this.write(dataFrames(streamId, part, end));
      this.#sentLength += part.byteLength;
      const before = this.#sentLengths.get(streamId) ?? 0;
      this.#sentLengths.set(streamId, before + part.byteLength);
    }
  }

  #sentLength = 0;
  readonly #sentLengths = new Map<number, number>();
  readonly #granted = new Map<number, number>();

  close(): void {
    this.socket.destroy();
  }

  #window(streamId: number): number {
    return 65_535 + (this.#granted.get(streamId) ?? 0);
  }

  #onData(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    while (this.#bytes.byteLength >= HEADER_LENGTH) {
      const end = HEADER_LENGTH + this.#bytes.readUIntBE(0, 3);
      if (this.#bytes.byteLength < end) return;
      const received = {
        type: this.#bytes.readUInt8(3),
        flags: this.#bytes.readUInt8(4),
        streamId: this.#bytes.readUInt32BE(5),
        payload: this.#bytes.subarray(HEADER_LENGTH, end),
      };
      this.#bytes = this.#bytes.subarray(end);
      this.frames.push(received);
      if (received.type === FrameType.WindowUpdate) {
        const { streamId, payload } = received;
        const before = this.#granted.get(streamId) ?? 0;
        this.#granted.set(streamId, before + payload.readUInt32BE(0));
      }
    }
  }
}

export function frame(
  type: number,
  options: {
    readonly streamId?: number;
    readonly flags?: number;
    readonly payload?: Uint8Array;
  } = {},
): Buffer {
  const { streamId = 0, flags = 0, payload = new Uint8Array(0) } = options;
  const header = Buffer.alloc(HEADER_LENGTH);
  header.writeUIntBE(payload.byteLength, 0, 3);
  header.writeUInt8(type, 3);
  header.writeUInt8(flags, 4);
  header.writeUInt32BE(streamId, 5);
  return Buffer.concat([header, payload]);
}

/** A header block in as many frames as it takes. */
export function headerFrames(streamId: number, block: Uint8Array, endStream = false): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < block.byteLength || at === 0; at += FRAME_LENGTH_MAX) {
    const payload = block.subarray(at, at + FRAME_LENGTH_MAX);
    const isLast = at + FRAME_LENGTH_MAX >= block.byteLength;
    const flags = (isLast ? END_HEADERS : 0) | (at === 0 && endStream ? END_STREAM : 0);
    const type = at === 0 ? FrameType.Headers : FrameType.Continuation;
    parts.push(frame(type, { streamId, flags, payload }));
  }
  return Buffer.concat(parts);
}

export function dataFrames(streamId: number, body: Uint8Array, endStream = false): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < body.byteLength || at === 0; at += FRAME_LENGTH_MAX) {
    const payload = body.subarray(at, at + FRAME_LENGTH_MAX);
    const isLast = at + FRAME_LENGTH_MAX >= body.byteLength;
    const flags = isLast && endStream ? END_STREAM : 0;
    parts.push(frame(FrameType.Data, { streamId, flags, payload }));
  }
  return Buffer.concat(parts);
}

/** What a gRPC call begins with, each header written out (RFC 7541, section 6.2.2). */
export function encodeHeaders(
  path: string,
  more: readonly (readonly [string, string])[] = [],
): Buffer {
  const headers = [
    [":method", "POST"],
    [":scheme", "http"],
    [":path", path],
    [":authority", "test"],
    ["te", "trailers"],
    ["content-type", "application/grpc"],
    ...more,
  ] as const;
  return Buffer.concat(headers.map(([name, value]) => encodeHeader(name, value)));
}

export function encodeHeader(name: string, value: string): Buffer {
  const [nameBytes, valueBytes] = [Buffer.from(name), Buffer.from(value)];
  return Buffer.concat([
    Buffer.from([0]),
    encodeLength(nameBytes.byteLength),
    nameBytes,
    encodeLength(valueBytes.byteLength),
    valueBytes,
  ]);
}

/** One message of a call. */
export function encodeMessage(message: Uint8Array): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.byteLength, 1);
  return Buffer.concat([prefix, message]);
}

/** An integer with a prefix of seven bits (RFC 7541, section 5.1). */
function encodeLength(length: number): Buffer {
  if (length < 127) return Buffer.from([length]);
  const bytes = [127];
  let rest = length - 127;
  for (; rest >= 128; rest >>>= 7) bytes.push((rest & 127) | 128);
  bytes.push(rest);
  return Buffer.from(bytes);
}
