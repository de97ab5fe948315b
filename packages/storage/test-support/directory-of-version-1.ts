import type { Fingerprint } from "../src/fingerprint.ts";
import type { PieceRecord, TaskFacts } from "../src/index.ts";

/**
 * A directory as the storage of format version 1 wrote it, byte by byte: what later versions must be able to read. Never to be made anew, or
 * encoder and decoder could change together; a later form gets a directory of its own beside it.
 *
 * Made with `openStorage` at commit 0310162 (December 2026): a task of four pieces that was sealed and pinned, then, opened with
 * `pieceDigest: "sha256"`, one of which three of five pieces came and one of them was denied; closed in order each time.
 */
export const DIRECTORY_OF_VERSION_1: {
  /** Base64, by path. */
  readonly files: Readonly<Record<string, string>>;
  readonly sealed: TaskOfVersion1;
  readonly partial: TaskOfVersion1;
} = {
  files: {
    "damselfly/content/a1a/a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1": [
      "c2VhbGVkOiBzZWFsZWQ6IHNlYWxlZDogc2VhbGVkOiBzZWFsZWQ6IHNlYWxlZDogc2VhbGVkOiBzZWFsZWQ6IHNlYWxlZDogc2VhbGVk",
      "OiBzZWFsZWQ6IHNlYWxlZDogc2VhbGVkOiBzZWFsZWQ6IHNlYWxlZDogc2VhbGVkOiBzZWFsZWQ6IHNlYWxlZDogc2VhbGVkOiBzZWFs",
      "ZWQ6IHNlYWxlZDogc2VhbGVkOiBzZWFsZWQ6IHNlYWxlZDogc2VhbGVkOiBzZWFsZWQ6IHM=",
    ].join(""),
    "damselfly/content/a1a/a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1.journal":
      [
        "RE1TTEpSTkwAAAAB7KgbKQAAAb9VE9VFAXsiZmFjdHMiOnsicGllY2VMZW5ndGgiOjY0LCJldGFnIjoiXCIxXCIiLCJsYXN0TW9kaWZp",
        "ZWQiOiJUaHUsIDAxIEphbiAyMDI2IDAwOjAwOjAwIEdNVCIsInJlc3BvbnNlSGVhZGVyIjp7ImNvbnRlbnQtdHlwZSI6InRleHQvcGxh",
        "aW4ifSwiY3JlZGVudGlhbHNEaWdlc3QiOiIiLCJjcmVhdGVkQXRNcyI6MTc2NzMyMzA0NTAwNywidGFza0lkIjoiYTFhMWExYTFhMWEx",
        "YTFhMWExYTFhMWExYTFhMWExYTFhMWExYTFhMWExYTFhMWExYTFhMWExYTFhMWExYTFhMSIsInVybCI6Imh0dHA6Ly9vcmlnaW4uaW52",
        "YWxpZC9zZWFsZWQ/YT0xIiwiY29udGVudExlbmd0aCI6MjA5LCJjb250ZW50VmVyc2lvbiI6InYxLXNlYWxlZCIsImNvbnRlbnREaWdl",
        "c3RzIjpbInNoYTI1NjpmMzgzMDQ1MTBhZGFjYzQ4OWQwMzI3Y2YzYWU2N2QwZmE3MDRmNDAwYTBlNTA0OGQzZTdiM2RhYmY0NWY3MzIx",
        "Il19fQAAAJ1IKGvKAnsicGllY2UiOnsibnVtYmVyIjowLCJvZmZzZXQiOjAsImxlbmd0aCI6NjQsImRpZ2VzdCI6ImNyYzMyOjQxMzYw",
        "NDY5NTMiLCJ0cmFmZmljVHlwZSI6IkJBQ0tfVE9fU09VUkNFIiwicGFyZW50SWQiOiIiLCJjb3N0TXMiOjcsImNyZWF0ZWRBdE1zIjox",
        "NzY3MzIzMDQ1MDI4fX0AAACrXxRFYwJ7InBpZWNlIjp7Im51bWJlciI6MSwib2Zmc2V0Ijo2NCwibGVuZ3RoIjo2NCwiZGlnZXN0Ijoi",
        "Y3JjMzI6NDEzNjA0Njk1MyIsInRyYWZmaWNUeXBlIjoiUkVNT1RFX1BFRVIiLCJwYXJlbnRJZCI6IjEyNy4wLjAuMS1wYXJlbnQiLCJj",
        "b3N0TXMiOjcsImNyZWF0ZWRBdE1zIjoxNzY3MzIzMDQ1MDQ5fX0AAACfO17rIgJ7InBpZWNlIjp7Im51bWJlciI6Miwib2Zmc2V0Ijox",
        "MjgsImxlbmd0aCI6NjQsImRpZ2VzdCI6ImNyYzMyOjQxMzYwNDY5NTMiLCJ0cmFmZmljVHlwZSI6IkJBQ0tfVE9fU09VUkNFIiwicGFy",
        "ZW50SWQiOiIiLCJjb3N0TXMiOjcsImNyZWF0ZWRBdE1zIjoxNzY3MzIzMDQ1MDcwfX0AAACsSgOCAQJ7InBpZWNlIjp7Im51bWJlciI6",
        "Mywib2Zmc2V0IjoxOTIsImxlbmd0aCI6MTcsImRpZ2VzdCI6ImNyYzMyOjM0NTc0NjYxMzAiLCJ0cmFmZmljVHlwZSI6IlJFTU9URV9Q",
        "RUVSIiwicGFyZW50SWQiOiIxMjcuMC4wLjEtcGFyZW50IiwiY29zdE1zIjo3LCJjcmVhdGVkQXRNcyI6MTc2NzMyMzA0NTA5MX19AAAB",
        "v1UT1UUBeyJmYWN0cyI6eyJwaWVjZUxlbmd0aCI6NjQsImV0YWciOiJcIjFcIiIsImxhc3RNb2RpZmllZCI6IlRodSwgMDEgSmFuIDIw",
        "MjYgMDA6MDA6MDAgR01UIiwicmVzcG9uc2VIZWFkZXIiOnsiY29udGVudC10eXBlIjoidGV4dC9wbGFpbiJ9LCJjcmVkZW50aWFsc0Rp",
        "Z2VzdCI6IiIsImNyZWF0ZWRBdE1zIjoxNzY3MzIzMDQ1MDA3LCJ0YXNrSWQiOiJhMWExYTFhMWExYTFhMWExYTFhMWExYTFhMWExYTFh",
        "MWExYTFhMWExYTFhMWExYTFhMWExYTFhMWExYTFhMWExIiwidXJsIjoiaHR0cDovL29yaWdpbi5pbnZhbGlkL3NlYWxlZD9hPTEiLCJj",
        "b250ZW50TGVuZ3RoIjoyMDksImNvbnRlbnRWZXJzaW9uIjoidjEtc2VhbGVkIiwiY29udGVudERpZ2VzdHMiOlsic2hhMjU2OmYzODMw",
        "NDUxMGFkYWNjNDg5ZDAzMjdjZjNhZTY3ZDBmYTcwNGY0MDBhMGU1MDQ4ZDNlN2IzZGFiZjQ1ZjczMjEiXX19AAACFa1avbcEeyJmaW5n",
        "ZXJwcmludCI6eyJkZXYiOiI2NTAyNCIsIm1vZGUiOiIzMzE4OCIsIm5saW5rIjoiMSIsInVpZCI6IjAiLCJnaWQiOiIwIiwicmRldiI6",
        "IjAiLCJibGtzaXplIjoiNDA5NiIsImlubyI6IjEwMTM1MzM0Iiwic2l6ZSI6IjIwOSIsImJsb2NrcyI6IjgiLCJhdGltZU1zIjoiMTc5",
        "NjA4NTY5MTQ4NiIsIm10aW1lTXMiOiIxNzk2MDg1NjkxNTA2IiwiY3RpbWVNcyI6IjE3OTYwODU2OTE1MDYiLCJiaXJ0aHRpbWVNcyI6",
        "IjE3OTYwODU2OTE0ODYiLCJhdGltZU5zIjoiMTc5NjA4NTY5MTQ4NjI5ODg1OCIsIm10aW1lTnMiOiIxNzk2MDg1NjkxNTA2MDAyNTQy",
        "IiwiY3RpbWVOcyI6IjE3OTYwODU2OTE1MDYwMDI1NDIiLCJiaXJ0aHRpbWVOcyI6IjE3OTYwODU2OTE0ODYyOTg4NTgiLCJhdGltZSI6",
        "IjIwMjYtMTItMDFUMDA6NDE6MzEuNDg2WiIsIm10aW1lIjoiMjAyNi0xMi0wMVQwMDo0MTozMS41MDZaIiwiY3RpbWUiOiIyMDI2LTEy",
        "LTAxVDAwOjQxOjMxLjUwNloiLCJiaXJ0aHRpbWUiOiIyMDI2LTEyLTAxVDAwOjQxOjMxLjQ4NloifX0=",
      ].join(""),
    "damselfly/content/a1a/a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1.pinned":
      "",
    "damselfly/content/b2b/b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2": [
      "cGFydGlhbDogcGFydGlhbDogcGFydGlhbDogcGFydGlhbDogcGFydGlhbDogcGFydGlhbDogcGFydGlhbDogcAAAAAAAAAAAAAAAAAAA",
      "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABydGlhbDogcGFydGlhbDogcGFydGlhbDogcGFy",
      "dGlhbDogcGFydGlhbDogcGFydGlhbDogcGFydGlhbDogcGFyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
      "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAGlhbDogcGFydGlhbDogcGFydGlhbDogcGFydGlhbDogcGFydGlhbDogcGFy",
    ].join(""),
    "damselfly/content/b2b/b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2.journal":
      [
        "RE1TTEpSTkwAAAAB7KgbKQAAAUn2EvF6AXsiZmFjdHMiOnsicGllY2VMZW5ndGgiOjY0LCJldGFnIjoiXCIxXCIiLCJsYXN0TW9kaWZp",
        "ZWQiOiJUaHUsIDAxIEphbiAyMDI2IDAwOjAwOjAwIEdNVCIsInJlc3BvbnNlSGVhZGVyIjp7fSwiY3JlZGVudGlhbHNEaWdlc3QiOiI1",
        "ZWVkIiwiY3JlYXRlZEF0TXMiOjE3NjczMjMwNDUwMDcsInRhc2tJZCI6ImIyYjJiMmIyYjJiMmIyYjJiMmIyYjJiMmIyYjJiMmIyYjJi",
        "MmIyYjJiMmIyYjJiMmIyYjJiMmIyYjJiMmIyYjIiLCJ1cmwiOiJodHRwOi8vb3JpZ2luLmludmFsaWQvcGFydGlhbCIsImNvbnRlbnRM",
        "ZW5ndGgiOjMwMCwiY29udGVudFZlcnNpb24iOiJ2MS1wYXJ0aWFsIn19AAAAb1ZL3NQFeyJmaW5nZXJwcmludCI6eyJzaXplIjoiMzAw",
        "IiwibXRpbWVOcyI6IjE3OTYwODU2OTE1MjIyOTg4NjAiLCJjdGltZU5zIjoiMTc5NjA4NTY5MTUyMjI5ODg2MCIsImlubyI6IjEwMTM1",
        "MzQ0In19AAAA9onMwzYCeyJwaWVjZSI6eyJudW1iZXIiOjAsIm9mZnNldCI6MCwibGVuZ3RoIjo2NCwiZGlnZXN0IjoiY3JjMzI6MzQx",
        "ODA0MTk0NSIsInN0cm9uZ0RpZ2VzdCI6InNoYTI1NjphMjg0YWQwMTdjNWUwZmEyYTk5ODQ3ZGU4MWFlNzZkYzFmM2Q5Y2RkNWIyZjhh",
        "OGNmOWVlN2MxZWVhZDZlNzU0IiwidHJhZmZpY1R5cGUiOiJCQUNLX1RPX1NPVVJDRSIsInBhcmVudElkIjoiIiwiY29zdE1zIjo3LCJj",
        "cmVhdGVkQXRNcyI6MTc2NzMyMzA0NTEyNn19AAAA+Ph9P4oCeyJwaWVjZSI6eyJudW1iZXIiOjIsIm9mZnNldCI6MTI4LCJsZW5ndGgi",
        "OjY0LCJkaWdlc3QiOiJjcmMzMjoxMjkwMDY2MTY5Iiwic3Ryb25nRGlnZXN0Ijoic2hhMjU2OmU4Nzg1Nzk5MWFiYmZhNzFiZDdiYzBl",
        "OGYwMWE0YjJmZTg3MTM0NmJlNzE1OGQyMDllYjUyZDgyN2RhNmNjYjEiLCJ0cmFmZmljVHlwZSI6IkJBQ0tfVE9fU09VUkNFIiwicGFy",
        "ZW50SWQiOiIiLCJjb3N0TXMiOjcsImNyZWF0ZWRBdE1zIjoxNzY3MzIzMDQ1MTQ3fX0AAAD3KdQ0WgJ7InBpZWNlIjp7Im51bWJlciI6",
        "NCwib2Zmc2V0IjoyNTYsImxlbmd0aCI6NDQsImRpZ2VzdCI6ImNyYzMyOjM3OTA1MjYxMyIsInN0cm9uZ0RpZ2VzdCI6InNoYTI1Njoz",
        "NjM0OGUzZThlMDU5OWY3YjJlOTFmZTU1YTRiZTY1ZGUyYzIyMDUwYTMyNTY1ODkwYTQ1NTA1NjYwNjEwZWM4IiwidHJhZmZpY1R5cGUi",
        "OiJCQUNLX1RPX1NPVVJDRSIsInBhcmVudElkIjoiIiwiY29zdE1zIjo3LCJjcmVhdGVkQXRNcyI6MTc2NzMyMzA0NTE2OH19AAAADCBj",
        "EBoDeyJudW1iZXIiOjJ9AAAAb+hKzGAFeyJmaW5nZXJwcmludCI6eyJzaXplIjoiMzAwIiwibXRpbWVOcyI6IjE3OTYwODU2OTE1Mjc1",
        "MDc2OTgiLCJjdGltZU5zIjoiMTc5NjA4NTY5MTUyNzUwNzY5OCIsImlubyI6IjEwMTM1MzQ0In19",
      ].join(""),
    "damselfly/format": ["ZGFtc2VsZmx5LXN0b3JhZ2UgMQo="].join(""),
  },
  sealed: {
    content: contentOf("sealed", 209),
    facts: {
      taskId: "a1".repeat(32),
      url: "http://origin.invalid/sealed?a=1",
      contentLength: 209,
      pieceLength: 64,
      contentVersion: "v1-sealed",
      etag: '"1"',
      lastModified: "Thu, 01 Jan 2026 00:00:00 GMT",
      responseHeader: { "content-type": "text/plain" },
      contentDigests: ["sha256:f38304510adacc489d0327cf3ae67d0fa704f400a0e5048d3e7b3dabf45f7321"],
      credentialsDigest: "",
      createdAtMs: 1767323045007,
    },
    pieces: [
      {
        number: 0,
        offset: 0,
        length: 64,
        digest: "crc32:4136046953",
        trafficType: "BACK_TO_SOURCE",
        parentId: "",
        costMs: 7,
        createdAtMs: 1767323045028,
      },
      {
        number: 1,
        offset: 64,
        length: 64,
        digest: "crc32:4136046953",
        trafficType: "REMOTE_PEER",
        parentId: "127.0.0.1-parent",
        costMs: 7,
        createdAtMs: 1767323045049,
      },
      {
        number: 2,
        offset: 128,
        length: 64,
        digest: "crc32:4136046953",
        trafficType: "BACK_TO_SOURCE",
        parentId: "",
        costMs: 7,
        createdAtMs: 1767323045070,
      },
      {
        number: 3,
        offset: 192,
        length: 17,
        digest: "crc32:3457466130",
        trafficType: "REMOTE_PEER",
        parentId: "127.0.0.1-parent",
        costMs: 7,
        createdAtMs: 1767323045091,
      },
    ],
    fingerprint: {
      size: 209n,
      mtimeNs: 1796085691506002542n,
      ctimeNs: 1796085691506002542n,
      ino: 10135334n,
    },
  },
  partial: {
    content: contentOf("partial", 300),
    facts: {
      taskId: "b2".repeat(32),
      url: "http://origin.invalid/partial",
      contentLength: 300,
      pieceLength: 64,
      contentVersion: "v1-partial",
      etag: '"1"',
      lastModified: "Thu, 01 Jan 2026 00:00:00 GMT",
      responseHeader: {},
      // No digests of the content, as before those were kept.
      credentialsDigest: "5eed",
      createdAtMs: 1767323045007,
    },
    pieces: [
      {
        number: 0,
        offset: 0,
        length: 64,
        digest: "crc32:3418041945",
        strongDigest: "sha256:a284ad017c5e0fa2a99847de81ae76dc1f3d9cdd5b2f8a8cf9ee7c1eead6e754",
        trafficType: "BACK_TO_SOURCE",
        parentId: "",
        costMs: 7,
        createdAtMs: 1767323045126,
      },
      {
        number: 4,
        offset: 256,
        length: 44,
        digest: "crc32:379052613",
        strongDigest: "sha256:36348e3e8e0599f7b2e91fe55a4be65de2c22050a32565890a45505660610ec8",
        trafficType: "BACK_TO_SOURCE",
        parentId: "",
        costMs: 7,
        createdAtMs: 1767323045168,
      },
    ],
    fingerprint: {
      size: 300n,
      mtimeNs: 1796085691527507698n,
      ctimeNs: 1796085691527507698n,
      ino: 10135344n,
    },
  },
};

export interface TaskOfVersion1 {
  /** Also of pieces that are not there. */
  readonly content: string;
  readonly facts: TaskFacts;
  /** In the order in which they were recorded. */
  readonly pieces: readonly PieceRecord[];
  readonly fingerprint: Fingerprint;
}

function contentOf(name: string, length: number): string {
  return `${name}: `.repeat(length).slice(0, length);
}
