import { createCipheriv, createDecipheriv, createHmac } from "node:crypto";

/**
 * Packets of QUIC version 1, made and opened by hand (RFC 9000, section 17; RFC 9001, section 5): what no implementation of QUIC would
 * send. The keys of Initial packets are known to everybody who sees one.
 */
export interface PacketKeys {
  readonly key: Buffer;
  readonly iv: Buffer;
  /** For the header. */
  readonly headerKey: Buffer;
}

export type Sender = "client" | "server";

const INITIAL_SALT = Buffer.from("38762cf7f55934b34d179ae6a4c80cadccbb7f0a", "hex");
const TAG_LENGTH = 16;
const SAMPLE_LENGTH = 16;

/** @param destinationId the one that the client has chosen for its first packet */
export function initialKeys(destinationId: Uint8Array, sender: Sender): PacketKeys {
  const secret = hmac(INITIAL_SALT, destinationId);
  return trafficKeys(expandLabel(secret, `${sender} in`, 32));
}

/** Of AES-128-GCM with SHA-256. */
export function trafficKeys(secret: Uint8Array): PacketKeys {
  return {
    key: expandLabel(secret, "quic key", 16),
    iv: expandLabel(secret, "quic iv", 12),
    headerKey: expandLabel(secret, "quic hp", 16),
  };
}

export interface InitialParts {
  readonly destinationId: Uint8Array;
  readonly sourceId: Uint8Array;
  readonly token: Uint8Array;
  readonly packetNumber: number;
  /** Frames, as they are. */
  readonly payload: Uint8Array;
  /** The datagram is filled up with padding to this length, in bytes. */
  readonly lengthMin: number;
  /** Default: those of the destination id. */
  readonly keys?: PacketKeys;
}

/** A datagram with one Initial packet. */
export function sealInitial(parts: InitialParts): Buffer {
  const { destinationId, sourceId, token, packetNumber, payload, lengthMin } = parts;
  const packetNumberLength = 4;
  const head = Buffer.concat([
    Buffer.of(0xc0 | (packetNumberLength - 1), 0, 0, 0, 1),
    Buffer.of(destinationId.byteLength),
    destinationId,
    Buffer.of(sourceId.byteLength),
    sourceId,
    encodeVarint(token.byteLength),
    token,
  ]);
  const rest = (length: number): number =>
    head.byteLength + 2 + packetNumberLength + length + TAG_LENGTH;
  const padding = Math.max(0, lengthMin - rest(payload.byteLength));
  const padded = Buffer.concat([payload, Buffer.alloc(padding)]);
  const length = packetNumberLength + padded.byteLength + TAG_LENGTH;
  const lengthField = Buffer.of(0x40 | (length >> 8), length);
  const header = Buffer.concat([head, lengthField, u32(packetNumber)]);
  const keys = parts.keys ?? initialKeys(destinationId, "client");
  return protect(header, padded, { packetNumber, packetNumberLength, keys });
}

/** A datagram with one 1-RTT packet. */
export function sealShort(parts: {
  readonly destinationId: Uint8Array;
  readonly packetNumber: number;
  readonly payload: Uint8Array;
  readonly keys: PacketKeys;
}): Buffer {
  const { destinationId, packetNumber, payload, keys } = parts;
  const header = Buffer.concat([Buffer.of(0x43), destinationId, u32(packetNumber)]);
  // The sample that hides the header is taken from behind the packet number.
  const padded = Buffer.concat([payload, Buffer.alloc(Math.max(0, 4 - payload.byteLength))]);
  return protect(header, padded, { packetNumber, packetNumberLength: 4, keys });
}

/** The frames of a client's first Initial, and its ids; undefined if it is none. */
export function openInitial(
  datagram: Buffer,
):
  | { readonly destinationId: Buffer; readonly sourceId: Buffer; readonly payload: Buffer }
  | undefined {
  if (((datagram[0] ?? 0) & 0xf0) !== 0xc0) return undefined;
  let at = 5;
  const take = (length: number): Buffer => datagram.subarray(at, (at += length));
  const destinationId = take(take(1)[0] ?? 0);
  const sourceId = take(take(1)[0] ?? 0);
  const tokenLength = readVarint(datagram, at);
  at += tokenLength.width + tokenLength.value;
  const length = readVarint(datagram, at);
  at += length.width;
  const keys = initialKeys(destinationId, "client");
  const opened = unprotect(datagram.subarray(0, at + length.value), at, keys);
  return opened === undefined ? undefined : { destinationId, sourceId, payload: opened };
}

export function encodeVarint(value: number): Buffer {
  if (value < 64) return Buffer.of(value);
  if (value < 16_384) return Buffer.of(0x40 | (value >> 8), value);
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value) | (3n << 62n));
  return bytes;
}

function readVarint(bytes: Buffer, at: number): { readonly value: number; readonly width: number } {
  const width = 1 << ((bytes[at] ?? 0) >> 6);
  let value = (bytes[at] ?? 0) & 0x3f;
  for (let index = 1; index < width; index++) value = value * 256 + (bytes[at + index] ?? 0);
  return { value, width };
}

function protect(
  header: Buffer,
  payload: Uint8Array,
  options: {
    readonly packetNumber: number;
    readonly packetNumberLength: number;
    readonly keys: PacketKeys;
  },
): Buffer {
  const { packetNumber, packetNumberLength, keys } = options;
  const cipher = createCipheriv("aes-128-gcm", keys.key, nonce(keys.iv, packetNumber));
  cipher.setAAD(header);
  const packet = Buffer.concat([
    header,
    cipher.update(payload),
    cipher.final(),
    cipher.getAuthTag(),
  ]);
  const at = header.byteLength - packetNumberLength;
  const mask = headerMask(keys, packet.subarray(at + 4, at + 4 + SAMPLE_LENGTH));
  const isLong = ((packet[0] ?? 0) & 0x80) !== 0;
  packet[0] = (packet[0] ?? 0) ^ ((mask[0] ?? 0) & (isLong ? 0x0f : 0x1f));
  for (let index = 0; index < packetNumberLength; index++) {
    packet[at + index] = (packet[at + index] ?? 0) ^ (mask[index + 1] ?? 0);
  }
  return packet;
}

/** @param at where the packet number is */
function unprotect(packet: Buffer, at: number, keys: PacketKeys): Buffer | undefined {
  const bare = Buffer.from(packet);
  const mask = headerMask(keys, bare.subarray(at + 4, at + 4 + SAMPLE_LENGTH));
  bare[0] = (bare[0] ?? 0) ^ ((mask[0] ?? 0) & 0x0f);
  const packetNumberLength = ((bare[0] ?? 0) & 3) + 1;
  let packetNumber = 0;
  for (let index = 0; index < packetNumberLength; index++) {
    bare[at + index] = (bare[at + index] ?? 0) ^ (mask[index + 1] ?? 0);
    packetNumber = packetNumber * 256 + (bare[at + index] ?? 0);
  }
  const start = at + packetNumberLength;
  const decipher = createDecipheriv("aes-128-gcm", keys.key, nonce(keys.iv, packetNumber));
  decipher.setAAD(bare.subarray(0, start));
  decipher.setAuthTag(bare.subarray(-TAG_LENGTH));
  try {
    return Buffer.concat([decipher.update(bare.subarray(start, -TAG_LENGTH)), decipher.final()]);
  } catch {
    return undefined; // not under these keys
  }
}

function headerMask({ headerKey }: PacketKeys, sample: Uint8Array): Buffer {
  if (sample.byteLength < SAMPLE_LENGTH) return Buffer.alloc(5);
  return createCipheriv("aes-128-ecb", headerKey, null).setAutoPadding(false).update(sample);
}

function nonce(iv: Buffer, packetNumber: number): Buffer {
  const bytes = Buffer.from(iv);
  bytes.writeUInt32BE((bytes.readUInt32BE(8) ^ packetNumber) >>> 0, 8);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** HKDF-Expand-Label of TLS 1.3 (RFC 8446, section 7.1), for what one round of SHA-256 is enough for. */
function expandLabel(secret: Uint8Array, label: string, length: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`);
  const info = Buffer.concat([
    Buffer.of(length >> 8, length, name.byteLength),
    name,
    Buffer.of(0, 1),
  ]);
  return hmac(secret, info).subarray(0, length);
}

function hmac(key: Uint8Array, bytes: Uint8Array): Buffer {
  return createHmac("sha256", key).update(bytes).digest();
}
