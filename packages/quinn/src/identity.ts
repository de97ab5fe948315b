import { createPrivateKey, createPublicKey, generateKeyPairSync } from "node:crypto";
import { encodeBase58 } from "./base58.ts";

/** Who an endpoint is: whoever holds the private key. */
export interface QuinnIdentity {
  /** libp2p's protobuf of the Ed25519 private key. Secret. */
  readonly privateKey: Uint8Array;
  /** libp2p's protobuf of the public key, 36 bytes: what to tell others. */
  readonly publicKey: Uint8Array;
  /** libp2p's peer id: what the handshake proves. */
  readonly peerKey: string;
}

// Protobuf of both keys (libp2p specs, peer-ids): field 1 the type, 1 being Ed25519; field 2 the bytes.
const PUBLIC_HEADER = Uint8Array.of(0x08, 1, 0x12, 32);
const PRIVATE_HEADER = Uint8Array.of(0x08, 1, 0x12, 64);
const PUBLIC_LENGTH = 36;
const PRIVATE_LENGTH = 68;
/** DER before the 32 bytes of an Ed25519 private key (RFC 8410, section 7). */
const PKCS8_HEADER = Buffer.from("302e020100300506032b657004220420", "hex");

/** A new identity; nothing of it is kept anywhere. */
export function createIdentity(): QuinnIdentity {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const secret = privateKey.export({ type: "pkcs8", format: "der" }).subarray(-32);
  const raw = publicKey.export({ type: "spki", format: "der" }).subarray(-32);
  return readIdentity(Buffer.concat([PRIVATE_HEADER, secret, raw]));
}

/**
 * The identity of a private key that was kept.
 *
 * @throws {TypeError} unless it is libp2p's protobuf of an Ed25519 key
 */
export function readIdentity(privateKey: Uint8Array): QuinnIdentity {
  const isForm = startsWith(privateKey, PRIVATE_HEADER) && privateKey.byteLength === PRIVATE_LENGTH;
  if (!isForm) {
    throw new TypeError("Cannot use private key: libp2p's protobuf of an Ed25519 key is needed");
  }
  const secret = privateKey.subarray(4, 36);
  const der = Buffer.concat([PKCS8_HEADER, secret]);
  const key = createPrivateKey({ key: der, type: "pkcs8", format: "der" });
  const raw = createPublicKey(key).export({ type: "spki", format: "der" }).subarray(-32);
  if (Buffer.compare(raw, privateKey.subarray(36)) !== 0) {
    throw new TypeError("Cannot use private key: its public half belongs to another key");
  }
  const publicKey = Buffer.concat([PUBLIC_HEADER, raw]);
  return { privateKey, publicKey, peerKey: peerKeyOf(publicKey) };
}

/**
 * The peer id of a public key. For so short a key it is the key itself, behind the header of an identity multihash.
 *
 * @throws {TypeError} unless it is libp2p's protobuf of an Ed25519 key
 */
export function peerKeyOf(publicKey: Uint8Array): string {
  if (!startsWith(publicKey, PUBLIC_HEADER) || publicKey.byteLength !== PUBLIC_LENGTH) {
    throw new TypeError("Cannot use public key: libp2p's protobuf of an Ed25519 key is needed");
  }
  return encodeBase58(Buffer.concat([Uint8Array.of(0, PUBLIC_LENGTH), publicKey]));
}

function startsWith(bytes: Uint8Array, head: Uint8Array): boolean {
  return head.every((byte, index) => bytes[index] === byte);
}
