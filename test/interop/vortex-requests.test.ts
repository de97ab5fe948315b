import { beforeAll, expect, it } from "vitest";
import { encodePacket, Tag, type RequestTag } from "@damselfly/vortex";
import { converse } from "./support/converse.ts";
import { PIECE_COUNT, useFiles } from "./support/files.ts";
import { describeInterop, useMixedCluster } from "./support/interop.ts";

/** Built from the task that both daemons have by then. */
type Request = (taskId: string) => Uint8Array;

const ask =
  (number: number, tag: RequestTag = Tag.DownloadPiece): Request =>
  (taskId) =>
    encodePacket({ kind: "request", id: 42, tag, taskId, pieceNumber: number });

/** Any header, any value. */
const packet = (tag: number, length: number, value: Uint8Array): Uint8Array => {
  const header = Buffer.alloc(6);
  header.writeUInt8(7, 0);
  header.writeUInt8(tag, 1);
  header.writeUInt32BE(length, 2);
  return Buffer.concat([header, value]);
};

const withTag =
  (tag: number, change: (value: Buffer) => Uint8Array = (value) => value): Request =>
  (taskId) => {
    const value = change(Buffer.from(ask(0)(taskId).subarray(6)));
    return packet(tag, value.byteLength, value);
  };

const REQUESTS: Readonly<Record<string, Request>> = {
  "for the first piece": ask(0),
  "for the last piece": ask(PIECE_COUNT - 1),
  "for a piece beyond the last": ask(PIECE_COUNT),
  "for piece 4294967295": ask(2 ** 32 - 1),
  "for a piece of a task that nobody has": () => ask(0)("f".repeat(64)),
  "for a task whose id is no hex": () => ask(0)("/".repeat(64)),
  "for two pieces, one after the other": (taskId) =>
    Buffer.concat([ask(1)(taskId), ask(2)(taskId)]),
  "for a persistent piece that nobody has, tag 2": () =>
    ask(0, Tag.DownloadPersistentPiece)("f".repeat(64)),
  "for a persistent cache piece that nobody has, tag 4": () =>
    ask(0, Tag.DownloadPersistentCachePiece)("f".repeat(64)),
  ...Object.fromEntries(
    [1, 3, 5, 6, 7, 8, 63, 128, 253, 254, 255].map((tag) => [
      `with tag ${tag} and a request's value`,
      withTag(tag),
    ]),
  ),
  "with tag 254 and no value": () => packet(254, 0, Buffer.alloc(0)),
  "with tag 255 and an error": () => packet(255, 2, Buffer.from([2, 120])),
  "whose value is a byte short": withTag(0, (value) => value.subarray(1)),
  "whose value is a byte long": withTag(0, (value) => Buffer.concat([value, Buffer.alloc(1)])),
  "without a value": () => packet(0, 0, Buffer.alloc(0)),
  "whose id is not UTF-8": withTag(0, (value) => value.fill(0xff, 0, 2)),
  "that is no Vortex": () => Buffer.from("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"),
};

/** Nothing can follow these. */
const CUT: Readonly<Record<string, Request>> = {
  "that never comes": () => Buffer.alloc(0),
  "that announces a mebibyte": (taskId) => packet(0, 2 ** 20, ask(0)(taskId).subarray(6)),
  "that ends inside the header": (taskId) => ask(0)(taskId).subarray(0, 3),
  "that ends inside the value": (taskId) => ask(0)(taskId).subarray(0, 40),
};

describeInterop("a Vortex request", () => {
  const cluster = useMixedCluster("file");
  const files = useFiles();
  let taskId: string;
  const ports: Record<string, number> = {};

  beforeAll(async () => {
    const scheduler = await cluster.startTheirScheduler();
    const schedulers = [scheduler.address];
    const theirs = await cluster.startTheirDaemon({ name: "theirs", schedulers });
    const plain = await cluster.startOurDaemon({ name: "plain" });
    const mixed = await cluster.startOurDaemon({ name: "mixed", tls: true });
    const { url } = files.serve();
    for (const daemon of [theirs, plain, mixed]) {
      ({ taskId } = await cluster.fetch(url, { daemon }));
    }
    ports["Dragonfly's"] = theirs.tcpPort;
    ports["ours without certificates"] = plain.tcpPort;
    ports["ours with certificates"] = mixed.tcpPort;
    ports["ours without certificates, where gRPC is served"] = plain.uploadPort;
    ports["ours with certificates, where gRPC is served"] = mixed.uploadPort;
  });

  it.each(Object.entries(REQUESTS))("%s is answered as Dragonfly does", async (what, request) => {
    // Whether the connection is good for one more request is part of the answer.
    const bytes = Buffer.concat([request(taskId), ask(PIECE_COUNT - 1)(taskId)]);
    const answerCount = what.includes("two pieces") ? 3 : 2;
    const theirs = await converse(ports["Dragonfly's"]!, bytes, answerCount);
    for (const [name, port] of Object.entries(ports)) {
      expect([name, await converse(port, bytes, answerCount)]).toEqual([name, theirs]);
    }
  });

  it.each(Object.entries(CUT))("%s is answered as Dragonfly does", async (_what, request) => {
    const theirs = await converse(ports["Dragonfly's"]!, request(taskId), 0);
    for (const [name, port] of Object.entries(ports)) {
      expect([name, await converse(port, request(taskId), 0)]).toEqual([name, theirs]);
    }
  });

  it.each([
    ["2", Tag.DownloadPersistentPiece],
    ["4", Tag.DownloadPersistentCachePiece],
  ] as const)(
    "with tag %s for a piece of an ordinary task is an error, and no end",
    async (_tag, tag) => {
      const bytes = Buffer.concat([ask(0, tag)(taskId), ask(PIECE_COUNT - 1)(taskId)]);
      for (const [name, port] of Object.entries(ports)) {
        // Dragonfly's finds the piece and then no file; ours knows no such task.
        const code = name === "Dragonfly's" ? 3 : 2;
        expect([name, await converse(port, bytes, 2)]).toEqual([
          name,
          [expect.stringContaining(`error ${code}: `), expect.stringContaining("tag 1: ")],
        ]);
      }
    },
  );

  it("is answered by Dragonfly at all", async () => {
    const last = ask(PIECE_COUNT - 1)(taskId);
    expect(await converse(ports["Dragonfly's"]!, last, 1)).toEqual([
      expect.stringContaining(`tag 1: piece ${PIECE_COUNT - 1} at`),
    ]);
  });
});
