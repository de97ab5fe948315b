/** What a connection speaks, as its first bytes tell. */
export type SpokenProtocol = "tls" | "http2" | "vortex" | "other";

/** No decision takes more than this many bytes. */
export const DECISIVE_LENGTH = 6;

/**
 * Tells by the first bytes of a connection what it speaks; undefined while they are too few. No two of these can be
 * mistaken for each other: they differ in the second byte.
 *
 *     TLS     16 03 …              a handshake record, version 3.x (RFC 8446, section 5.1)
 *     HTTP/2  50 52 49 20 …        "PRI ", the start of the preface (RFC 9113, section 3.4)
 *     Vortex  .. tt 00 00 00 44    any id, tag 0, 2 or 4, and the 68 bytes that a request for a piece has
 */
export function recognizeProtocol(bytes: Uint8Array): SpokenProtocol | undefined {
  const forms = FORMS.filter(({ pattern }) =>
    pattern.every((expected, at) => at >= bytes.length || expected.includes(bytes[at]!)),
  );
  const [form] = forms;
  if (form === undefined) return "other";
  return forms.length === 1 && bytes.length >= form.pattern.length ? form.protocol : undefined;
}

/** For each byte the values it may have. */
const FORMS: readonly {
  readonly protocol: SpokenProtocol;
  readonly pattern: readonly (readonly number[])[];
}[] = [
  { protocol: "tls", pattern: [[0x16], [0x03]] },
  { protocol: "http2", pattern: [...Buffer.from("PRI ")].map((byte) => [byte]) },
  {
    protocol: "vortex",
    pattern: [Array.from({ length: 256 }, (_, id) => id), [0, 2, 4], [0], [0], [0], [68]],
  },
];
