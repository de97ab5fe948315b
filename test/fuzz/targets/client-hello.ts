/** An extension of a TLS message. */
export interface HelloExtension {
  readonly type: number;
  readonly data: Uint8Array;
}

/** QUIC's transport parameters (RFC 9001, section 8.2). */
export const TRANSPORT_PARAMETERS = 0x39;

/**
 * A ClientHello taken apart (RFC 8446, section 4.1.2), so that it can be put together again with other extensions and all lengths right: one
 * with a wrong length is not looked into.
 */
export class ClientHello {
  /** Up to the extensions' length, without the message's own header. */
  readonly #head: Buffer;
  readonly extensions: readonly HelloExtension[];

  private constructor(head: Buffer, extensions: readonly HelloExtension[]) {
    this.#head = head;
    this.extensions = extensions;
  }

  /** @param message with its header of four bytes */
  static decode(message: Buffer): ClientHello {
    let at = 4 + 2 + 32;
    at += 1 + message.readUInt8(at); // session id
    at += 2 + message.readUInt16BE(at); // cipher suites
    at += 1 + message.readUInt8(at); // compression
    const head = message.subarray(4, at);
    const end = at + 2 + message.readUInt16BE(at);
    const extensions: HelloExtension[] = [];
    for (at += 2; at < end;) {
      const length = message.readUInt16BE(at + 2);
      const data = message.subarray(at + 4, at + 4 + length);
      extensions.push({ type: message.readUInt16BE(at), data });
      at += 4 + length;
    }
    return new ClientHello(head, extensions);
  }

  /** The message with these extensions. */
  encode(extensions: readonly HelloExtension[]): Buffer {
    const body = Buffer.concat(
      extensions.flatMap(({ type, data }) => [u16(type), u16(data.byteLength), data]),
    );
    const message = Buffer.concat([this.#head, u16(body.byteLength), body]);
    return Buffer.concat([Buffer.of(1, 0), u16(message.byteLength), message]);
  }
}

function u16(value: number): Buffer {
  return Buffer.of(value >> 8, value);
}
