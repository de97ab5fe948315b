import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { createSocket } from "node:dgram";
import { chmod, copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect, createServer, type AddressInfo } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { fileURLToPath } from "node:url";
import { loadQuiche } from "@damselfly/quic";
import { readPiece, SyntheticSource, TASK_ID } from "@damselfly/transport/conformance";
import { createTestAuthority } from "@damselfly/transport/testing";
import { createQuicDownloader, serveQuic } from "@damselfly/transport-quic";
import { serveTcp } from "@damselfly/transport-tcp";
import { CONTENT_TAG_OF, encodePacket, type Packet, Tag } from "@damselfly/vortex";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Capture } from "./support/capture.ts";

/*
 * config/vortex.lua, by which Wireshark reads pieces on their way. Needs tshark, and is skipped where there is none.
 */

const SCRIPT = fileURLToPath(new URL("../config/vortex.lua", import.meta.url));
const ANYWHERE = { ip: "127.0.0.1", port: 0 };
/** Wireshark runs no scripts for root. */
const NOBODY = userInfo().uid === 0 ? { uid: 65_534, gid: 65_534 } : {};

const hasTshark = spawnSync("tshark", ["--version"]).status === 0;
if (!hasTshark)
  console.warn("skipped: tshark is not installed, so config/vortex.lua is not tested");
const hasQuiche = await loadQuiche().then(
  () => true,
  () => false,
);

let directory: string;
const at = (name: string): string => join(directory, name);
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dissector-"));
  await chmod(directory, 0o755);
  await copyFile(SCRIPT, at("vortex.lua"));
  await chmod(at("vortex.lua"), 0o644);
});
afterAll(async () => {
  await rm(directory, { recursive: true });
});

/** One packet as tshark sees it: the fields asked for, each with all its values. */
type Row = Readonly<Record<string, string>>;

async function dissect(
  capture: Capture,
  fields: readonly string[],
  options: { readonly keyLog?: string; readonly args?: readonly string[] } = {},
): Promise<Row[]> {
  await capture.write(at("capture.pcap"));
  const { keyLog, args = [] } = options;
  if (keyLog !== undefined) {
    await writeFile(at("keys.log"), keyLog);
    await chmod(at("keys.log"), 0o644);
  }
  const { stdout, stderr, status } = spawnSync(
    "tshark",
    [
      "-X",
      `lua_script:${at("vortex.lua")}`,
      "-r",
      at("capture.pcap"),
      ...(keyLog === undefined ? [] : ["-o", `tls.keylog_file:${at("keys.log")}`]),
      "-2",
      "-Y",
      "vortex",
      "-T",
      "fields",
      "-E",
      "separator=/t",
      "-E",
      "aggregator=,",
      ...fields.flatMap((field) => ["-e", field]),
      ...args,
    ],
    { ...NOBODY, env: { PATH: process.env["PATH"], HOME: directory }, encoding: "utf8" },
  );
  expect([status, stderr.replaceAll(/^Running as user.*\n?/gm, "")]).toEqual([0, ""]);
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const values = line.split("\t");
      return Object.fromEntries(fields.map((field, index) => [field, values[index] ?? ""]));
    });
}

const CONTENT = {
  kind: "content",
  id: 7,
  tag: Tag.PieceContent,
  pieceNumber: 3,
  offset: 12_000,
  length: 5_000,
  digest: "crc32:12345",
  parentId: "10.0.0.1-seed",
  trafficType: 1,
  costSeconds: 2,
  createdAtSeconds: 1_700_000_000,
} as const;

function requestOf(tag: 0 | 2 | 4 | 6): Packet {
  return { kind: "request", id: 1, tag, taskId: TASK_ID, pieceNumber: 3 };
}

const CHILD = { fromPort: 40_000, toPort: 4_005 };
const PARENT = { fromPort: 4_005, toPort: 40_000 };

describe.runIf(hasTshark)("config/vortex.lua", () => {
  it("knows every tag and every field", async () => {
    const capture = new Capture();
    capture.open(CHILD);
    for (const tag of [0, 2, 4, 6] as const) {
      capture.tcp(CHILD, encodePacket(requestOf(tag)));
      const answer = encodePacket({ ...CONTENT, tag: CONTENT_TAG_OF[tag] });
      capture.tcp(PARENT, Buffer.concat([answer, Buffer.alloc(CONTENT.length)]));
    }
    capture.tcp(
      CHILD,
      encodePacket({
        kind: "range-request",
        id: 2,
        tag: Tag.DownloadPieceRange,
        taskId: TASK_ID,
        pieceNumber: 9,
        offset: 4_500,
        length: 1_000,
      }),
    );
    // Of a range as much follows as the piece has of it.
    capture.tcp(PARENT, Buffer.concat([encodePacket(CONTENT), Buffer.alloc(500)]));
    capture.tcp(CHILD, encodePacket(requestOf(0)));
    capture.tcp(
      PARENT,
      encodePacket({ kind: "error", id: 3, tag: Tag.Error, code: 2, message: "no piece" }),
    );
    capture.tcp(CHILD, encodePacket({ kind: "reserved", id: 4, tag: 100 }));
    capture.tcp(CHILD, encodePacket({ kind: "close", id: 5, tag: Tag.Close }));
    const fields = [
      "vortex.tag",
      "vortex.piece_number",
      "vortex.task_id",
      "vortex.range.offset",
      "vortex.range.length",
      "vortex.offset",
      "vortex.length",
      "vortex.digest",
      "vortex.parent_id",
      "vortex.traffic_type",
      "vortex.cost",
      "vortex.created_at",
      "vortex.error.code",
      "vortex.error.message",
    ];
    const rows = await dissect(capture, fields);
    const tags = rows.flatMap((row) => row["vortex.tag"]!.split(",").filter(Boolean));
    expect(tags.map(Number)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 64, 1, 0, 255, 100, 254]);
    expect(rows.find((row) => row["vortex.tag"] === "64")).toMatchObject({
      "vortex.piece_number": "9",
      "vortex.task_id": TASK_ID,
      "vortex.range.offset": "4500",
      "vortex.range.length": "1000",
    });
    expect(rows.find((row) => row["vortex.tag"] === "1")).toMatchObject({
      "vortex.piece_number": "3",
      "vortex.offset": "12000",
      "vortex.length": "5000",
      "vortex.digest": "crc32:12345",
      "vortex.parent_id": "10.0.0.1-seed",
      "vortex.traffic_type": "1",
      "vortex.cost": "2",
      "vortex.created_at": expect.stringMatching(/Nov 14, 2023 22:13:20|1700000000/),
    });
    expect(rows.find((row) => row["vortex.tag"] === "255")).toMatchObject({
      "vortex.error.code": "2",
      "vortex.error.message": "no piece",
    });
    const faults = await dissect(capture, ["_ws.expert.message"]);
    expect(faults.map((row) => row["_ws.expert.message"]).join("")).toBe("");
  });

  it.each([1, 7, 73, 1_400, 100_000])(
    "finds content and packets however they are cut, into %d bytes",
    async (segmentLength) => {
      const capture = new Capture();
      capture.open(CHILD);
      const request = encodePacket(requestOf(0));
      // Content that looks like packets.
      const decoy = Buffer.alloc(CONTENT.length, request);
      for (let count = 0; count < 2; count++) {
        capture.tcp(CHILD, request, segmentLength);
        capture.tcp(PARENT, Buffer.concat([encodePacket(CONTENT), decoy]), segmentLength);
      }
      const rows = await dissect(capture, ["vortex.tag", "vortex.content.length"]);
      const all = (field: string): number[] =>
        rows.flatMap((row) => row[field]!.split(",").filter(Boolean).map(Number));
      expect(all("vortex.tag")).toEqual([0, 1, 0, 1]);
      const sum = all("vortex.content.length").reduce((one, other) => one + other, 0);
      expect(sum).toBe(2 * CONTENT.length);
    },
  );

  it("says what is no packet, instead of reading on", async () => {
    const capture = new Capture();
    capture.open(CHILD);
    capture.tcp(CHILD, Buffer.from("000000000045", "hex"));
    capture.tcp(CHILD, Buffer.from("0001ffffffff00", "hex"));
    const rows = await dissect(capture, ["_ws.expert.message"]);
    expect(rows.map((row) => row["_ws.expert.message"])).toEqual([
      "This is no Vortex packet: its value has 69 bytes, expected 68",
      expect.stringContaining("expected 65540 at most"),
    ]);
  });

  it("says what it cannot know in a capture that begins in the middle", async () => {
    const capture = new Capture();
    capture.open(PARENT);
    capture.tcp(PARENT, Buffer.concat([encodePacket(CONTENT), Buffer.alloc(CONTENT.length)]));
    const rows = await dissect(capture, ["_ws.expert.message"]);
    expect(rows[0]?.["_ws.expert.message"]).toContain("The request is not in the capture");
  });

  it("finds it on other ports by the form of a request, and nothing else", async () => {
    const capture = new Capture();
    const ways = [
      { fromPort: 40_000, toPort: 12_345 },
      { fromPort: 40_001, toPort: 12_346 },
    ] as const;
    for (const way of ways) capture.open(way);
    capture.tcp(ways[0], encodePacket(requestOf(0)));
    const other = Buffer.from(encodePacket(requestOf(0)));
    other.write("not a task id", 6);
    capture.tcp(ways[1], other);
    const rows = await dissect(capture, ["tcp.dstport"]);
    expect(rows).toEqual([{ "tcp.dstport": "12345" }]);
  });

  it("reads a piece of a daemon's over TLS, with the secrets", async () => {
    const authority = await createTestAuthority();
    const source = new SyntheticSource();
    source.add(5, { length: 30_000 });
    const server = await serveTcp({
      source,
      tls: await authority.issue(),
      plain: false,
      address: ANYWHERE,
    });
    const capture = new Capture();
    const relay = await relayTcp(server.address.port, capture);
    const { caCert: ca, cert, key } = await authority.issue();
    const socket = connectTls({
      port: relay.port,
      ca,
      cert,
      key,
      servername: "d7y",
      ALPNProtocols: ["d7y-vortex/1"],
    });
    let keyLog = "";
    socket.on("keylog", (line: Buffer) => (keyLog += line.toString()));
    await once(socket, "secureConnect");
    socket.write(encodePacket({ kind: "request", id: 1, tag: 0, taskId: TASK_ID, pieceNumber: 5 }));
    let received = 0;
    const chunks: AsyncIterable<Uint8Array> = socket;
    for await (const chunk of chunks) {
      received += chunk.byteLength;
      if (received > 30_000) break;
    }
    socket.destroy();
    await relay.close();
    await server[Symbol.asyncDispose]();
    await expectPieces(capture, keyLog, [[5, 30_000]]);
  });

  it.runIf(hasQuiche)(
    "reads a piece of a daemon's over QUIC, with the secrets of its log",
    async () => {
      const authority = await createTestAuthority();
      const source = new SyntheticSource();
      const requests = [source.add(5, { length: 30_000 }), source.add(6, { length: 20_000 })];
      const server = await serveQuic({ source, tls: await authority.issue(), address: ANYWHERE });
      const capture = new Capture();
      const relay = await relayUdp(server.address.port, capture);
      const keyLogPath = at("quic-keys.log");
      const downloader = createQuicDownloader({
        tls: await authority.issue(),
        keyLogPath,
        packetLength: 1_350,
        udp: "dgram",
      });
      const parent = { hostId: "parent", ip: "127.0.0.1", ports: { quic: [relay.port] } };
      // Two at once: each has a stream of its own, and the server may send packets as long as 16 KiB.
      const lengths = await Promise.all(
        requests.map(async (request) => readPiece(await downloader.downloadPiece(parent, request))),
      );
      expect(lengths).toEqual([30_000, 20_000]);
      await downloader[Symbol.asyncDispose]();
      await relay.close();
      await server[Symbol.asyncDispose]();
      await expectPieces(capture, await readFile(keyLogPath, "utf8"), [
        [5, 30_000],
        [6, 20_000],
      ]);
    },
  );
});

/** Of each piece a request, its announcement and its content. */
async function expectPieces(
  capture: Capture,
  keyLog: string,
  pieces: readonly (readonly [number: number, length: number])[],
): Promise<void> {
  const fields = ["vortex.tag", "vortex.piece_number", "vortex.length", "vortex.content.length"];
  const rows = await dissect(capture, fields, { keyLog });
  const all = (field: string): number[] =>
    rows.flatMap((row) => row[field]!.split(",").filter(Boolean).map(Number));
  const tags = all("vortex.tag");
  expect(tags.filter((tag) => tag === 0 || tag === 64)).toHaveLength(pieces.length);
  expect(tags.filter((tag) => tag === 1)).toHaveLength(pieces.length);
  expect(tags).toHaveLength(2 * pieces.length);
  // Requests and announcements of several streams come in any order.
  const sorted = (numbers: readonly number[]): number[] => numbers.toSorted((a, b) => a - b);
  expect(sorted(all("vortex.piece_number"))).toEqual(
    sorted(pieces.flatMap(([number]) => [number, number])),
  );
  expect(sorted(all("vortex.length"))).toEqual(sorted(pieces.map(([, length]) => length)));
  const sum = all("vortex.content.length").reduce((one, other) => one + other, 0);
  expect(sum).toBe(pieces.reduce((total, [, length]) => total + length, 0));
}

interface Relay {
  readonly port: number;
  close(): Promise<void>;
}

/** Passes one connection on and writes down what passes. */
async function relayTcp(toPort: number, capture: Capture): Promise<Relay> {
  const server = createServer((near) => {
    const far = connect(toPort, "127.0.0.1");
    const way = { fromPort: 40_000, toPort: 4_443 };
    capture.open(way);
    near.on("data", (bytes) => {
      capture.tcp(way, Buffer.from(bytes));
      far.write(bytes);
    });
    far.on("data", (bytes) => {
      capture.tcp({ fromPort: way.toPort, toPort: way.fromPort }, Buffer.from(bytes));
      near.write(bytes);
    });
    near.on("close", () => far.destroy());
    far.on("close", () => near.destroy());
    near.on("error", () => {});
    far.on("error", () => {});
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a TCP server has such an address
    port: (server.address() as AddressInfo).port,
    close: async () => {
      server.close();
      await once(server, "close");
    },
  };
}

/** The same for datagrams, of one client. */
async function relayUdp(toPort: number, capture: Capture): Promise<Relay> {
  const near = createSocket("udp4").bind(0, "127.0.0.1");
  const far = createSocket("udp4").bind(0, "127.0.0.1");
  await Promise.all([once(near, "listening"), once(far, "listening")]);
  const way = { fromPort: 40_000, toPort: 4_443 };
  let clientPort = 0;
  near.on("message", (datagram, { port }) => {
    clientPort = port;
    capture.udp(way, datagram);
    far.send(datagram, toPort, "127.0.0.1");
  });
  far.on("message", (datagram) => {
    capture.udp({ fromPort: way.toPort, toPort: way.fromPort }, datagram);
    near.send(datagram, clientPort, "127.0.0.1");
  });
  return {
    port: near.address().port,
    close: async () => {
      near.close();
      far.close();
      await Promise.resolve();
    },
  };
}
