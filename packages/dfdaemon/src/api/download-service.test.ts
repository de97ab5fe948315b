import { createHash } from "node:crypto";
import { link, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { connect, type ClientHttp2Stream, type IncomingHttpHeaders } from "node:http2";
import { connect as connectSocket } from "node:net";
import { join } from "node:path";
import {
  backendDetails,
  createDfdaemonDownloadClient,
  loadService,
  RpcError,
  type DfdaemonDownloadClient,
  type Download,
  type DownloadTaskResponse__Output,
  type Piece__Output,
} from "@damselfly/rpc";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openOriginServer, seededContent, type OriginServer } from "../testing/origin-server.ts";
import { openDaemonBench, type DaemonBench, type DaemonInTest } from "../testing/running-daemon.ts";

const PIECE_LENGTH = 4 * 2 ** 20;
const LENGTH = 2 * PIECE_LENGTH + 100_003;
const CONTENT = seededContent(LENGTH);
const SHA256 = `sha256:${createHash("sha256").update(CONTENT).digest("hex")}`;
/** What Dragonfly's dfget says besides the URL. */
const DFGET: Download = {
  tag: "",
  application: "",
  filteredQueryParams: ["Expires"],
  priority: "LEVEL6",
};

let origin: OriginServer;
let bench: DaemonBench;
let daemon: DaemonInTest;
let client: DfdaemonDownloadClient;

beforeAll(async () => {
  origin = await openOriginServer();
  bench = await openDaemonBench();
  daemon = await bench.start("served", { "scheduler.embedded": false });
  client = createDfdaemonDownloadClient(daemon);
});
afterAll(async () => {
  await client[Symbol.asyncDispose]();
  await bench[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
});

let fileCount = 0;

/** A URL that no test has used before. */
function serveFile(): string {
  fileCount += 1;
  origin.set(`/services-${fileCount}`, { content: CONTENT });
  return `${origin.url}/services-${fileCount}`;
}

interface Outcome {
  readonly taskId: string;
  readonly started: NonNullable<DownloadTaskResponse__Output["downloadTaskStartedResponse"]>;
  readonly pieces: readonly Piece__Output[];
}

async function download(fields: Download, caller = client): Promise<Outcome> {
  let taskId = "";
  let started: Outcome["started"] | undefined;
  const pieces: Piece__Output[] = [];
  for await (const response of caller.downloadTask({ download: fields })) {
    ({ taskId } = response);
    started ??= response.downloadTaskStartedResponse ?? undefined;
    const piece = response.downloadPieceFinishedResponse?.piece;
    if (piece) pieces.push(piece);
  }
  if (started === undefined) throw new Error("the daemon said nothing of the task");
  return { taskId, started, pieces };
}

async function failureOf(fields: Download, caller = client): Promise<RpcError> {
  const failure: unknown = await download(fields, caller).then(
    () => new Error("it did not fail"),
    (error: unknown) => error,
  );
  if (!(failure instanceof RpcError)) throw failure;
  return failure;
}

const outputPath = (name: string): string => join(bench.directory, name);

describe("DownloadTask", () => {
  it("says first every piece that is coming, then each of them", async () => {
    const { started, pieces } = await download({ ...DFGET, url: serveFile() });
    expect(started).toMatchObject({ contentLength: LENGTH, isFinished: false });
    expect(started.pieces.map(({ number, offset, length }) => [number, offset, length])).toEqual([
      [0, 0, PIECE_LENGTH],
      [1, PIECE_LENGTH, PIECE_LENGTH],
      [2, 2 * PIECE_LENGTH, 100_003],
    ]);
    expect(started.pieces.every(({ digest, content }) => digest === "" && !content)).toBe(true);
    expect(pieces.map(({ number }) => number).toSorted((a, b) => a - b)).toEqual([0, 1, 2]);
    expect(pieces.every(({ digest }) => /^crc32:\d+$/.test(digest))).toBe(true);
    expect(pieces.every(({ cost, createdAt }) => cost !== null && createdAt !== null)).toBe(true);
  });

  it("says what is there already, and asks nobody", async () => {
    const url = serveFile();
    await download({ url });
    const { length } = origin.requests;
    const { started, pieces } = await download({ url });
    expect(started.isFinished).toBe(true);
    expect(pieces.map(({ trafficType }) => trafficType)).toEqual(
      Array.from({ length: 3 }, () => "LOCAL_PEER"),
    );
    expect(origin.requests).toHaveLength(length);
  });

  it("writes the output and checks its digest", async () => {
    const out = outputPath("plain");
    await download({ url: serveFile(), outputPath: out, digest: SHA256 });
    expect((await readFile(out)).equals(CONTENT)).toBe(true);
  });

  it("tells our dfget, and no other, that the output appears complete", async () => {
    const ours = { "grpc.primary_user_agent": "damselfly-dfget" };
    await using dfget = createDfdaemonDownloadClient(daemon, { channelOptions: ours });
    const url = serveFile();
    const { started } = await download({ url, outputPath: outputPath("marked") }, dfget);
    expect(started.extension).toMatchObject({ atomicOutput: true });
    expect((await download({ url })).started.extension).toBeNull();
  });

  it("writes no output for another user, of whom it would not be", async () => {
    const url = serveFile();
    const own = process.geteuid!();
    const failure = await failureOf({
      url,
      outputPath: outputPath("another"),
      extension: { uid: own + 1 },
    });
    expect(failure).toMatchObject({ code: "PERMISSION_DENIED" });
    expect(failure.reason).toContain(`runs as user ${own}, its caller as user ${own + 1}`);
    expect(origin.requestsTo(new URL(url).pathname)).toEqual([]);
    await download({ url, outputPath: outputPath("own"), extension: { uid: own } });
    expect((await readFile(outputPath("own"))).equals(CONTENT)).toBe(true);
    await download({ url, extension: { uid: own + 1 }, needPieceContent: true });
  });

  it("leaves what is there, unless it is told to overwrite", async () => {
    const out = outputPath("taken");
    await writeFile(out, "precious");
    const url = serveFile();
    const failure = await failureOf({ url, outputPath: out });
    expect(failure).toMatchObject({ code: "ALREADY_EXISTS" });
    expect(failure.reason).toContain("exists already");
    expect(await readFile(out, "utf8")).toBe("precious");
    // Told before anything was fetched.
    expect(origin.bodyBytes(new URL(url).pathname)).toBe(0);
    await download({ url, outputPath: out, overwrite: true });
    expect((await readFile(out)).equals(CONTENT)).toBe(true);
  });

  it("links the output, and once more where it is linked already", async () => {
    const url = serveFile();
    const out = outputPath("linked");
    await download({ url, outputPath: out, forceHardLink: true });
    const { ino, nlink } = await stat(out);
    expect(nlink).toBe(2);
    await download({ url, outputPath: out, forceHardLink: true });
    expect((await stat(out)).ino).toBe(ino);
    const other = outputPath("linked-too");
    await download({ url, outputPath: other, forceHardLink: true });
    expect((await stat(other)).ino).toBe(ino);
    await link(out, outputPath("linked-by-hand"));
    await download({ url, outputPath: outputPath("linked-by-hand") });
  });

  it("gives a part of the file, and fetches the rest in the background when told", async () => {
    const url = serveFile();
    const range = { start: PIECE_LENGTH + 5, length: 10 };
    const { taskId, started, pieces } = await download({ url, range, prefetch: true });
    expect(started.range).toMatchObject(range);
    expect(started.pieces.map(({ number }) => number)).toEqual([1]);
    expect(pieces.map(({ number }) => number)).toEqual([1]);
    await expect
      .poll(async () => (await client.statLocalTask({ taskId })).finishedAt, { timeout: 20_000 })
      .toBeTruthy();
    expect((await client.statLocalTask({ taskId })).prefetchedAt).toBeTruthy();
    expect(origin.bodyBytes(new URL(url).pathname)).toBeLessThan(LENGTH + PIECE_LENGTH);
  });

  it("sends whole pieces of a part, as a proxy cuts it out of them", async () => {
    const requestHeader = { range: `bytes=${PIECE_LENGTH - 1}-${PIECE_LENGTH}`, "X-Other": "1" };
    const url = serveFile();
    const { started, pieces } = await download({ url, requestHeader, needPieceContent: true });
    expect(started.range).toMatchObject({ start: PIECE_LENGTH - 1, length: 2 });
    expect(started.contentLength).toBe(LENGTH);
    const sent = pieces
      .toSorted((a, b) => a.number - b.number)
      .map(({ content }) => Buffer.from(content ?? []));
    const wanted = CONTENT.subarray(0, 2 * PIECE_LENGTH);
    expect(Buffer.concat(sent).equals(wanted)).toBe(true);
  });

  it("fetches nothing more for a part when nobody told it to", async () => {
    const url = serveFile();
    const { taskId } = await download({ url, requestHeader: { Range: "bytes=0-9" } });
    const local = await client.statLocalTask({ taskId });
    expect([local.prefetchedAt, local.finishedAt, local.failedAt].some(Boolean)).toBe(false);
    expect(origin.bodyBytes(new URL(url).pathname)).toBe(PIECE_LENGTH);
  });

  it("says what a task is, and fetches nothing", async () => {
    const url = serveFile();
    const { taskId, started, pieces } = await download({ url, metadataOnly: true });
    expect(started).toMatchObject({ contentLength: LENGTH, isFinished: false });
    expect(pieces).toEqual([]);
    expect((await client.statLocalTask({ taskId })).finishedAt).toBeFalsy();
    expect(origin.bodyBytes(new URL(url).pathname)).toBe(0);
  });

  it("reads nothing of a file whose length its origin does not say to tell what it is", async () => {
    const url = serveFile();
    const { pathname } = new URL(url);
    // What comes with the header is all that comes.
    const beforeChunk = async (sentBytes: number): Promise<void> => {
      if (sentBytes > 0) await new Promise(() => {});
    };
    origin.set(pathname, { content: CONTENT, chunked: true, ranges: false, beforeChunk });
    const failure = await failureOf({ url, metadataOnly: true });
    expect(failure.code).toBe("INTERNAL");
    expect(failure.reason).toContain("all of it would have to be read");
  });

  it("takes the task id from the text that it is given", async () => {
    const contentForCalculatingTaskId = "a text";
    const { taskId } = await download({ url: serveFile(), contentForCalculatingTaskId });
    expect(taskId).toBe(createHash("sha256").update("a text").digest("hex"));
    const digest = SHA256.slice("sha256:".length);
    origin.set(`/v2/library/blobs/sha256:${digest}`, { content: CONTENT });
    const url = `${origin.url}/v2/library/blobs/sha256:${digest}`;
    const blob = await download({ url, enableTaskIdBasedBlobDigest: true });
    expect(blob.taskId).toBe(digest);
  });

  it("believes no bytes from elsewhere that somebody has put under a URL's id", async () => {
    const wanted = serveFile();
    const evil = serveFile();
    const { pathname } = new URL(evil);
    const forged = Buffer.alloc(LENGTH, "forged");
    origin.set(pathname, { content: forged });
    const { taskId: id } = await download({ url: wanted, metadataOnly: true });
    // Under the name of a digest there is nothing but what has it.
    origin.set(`/v2/evil/blobs/sha256:${id}`, { content: forged });
    const blob = `${origin.url}/v2/evil/blobs/sha256:${id}`;
    const refusal = await failureOf({ url: blob, enableTaskIdBasedBlobDigest: true });
    expect(refusal.reason).toContain("is not what it says it is");
    const forgeries: Download[] = [
      { url: evil, contentForCalculatingTaskId: `${wanted}STANDARD` },
      // Its host is another one's port, or domain, in the same way.
      { url: wanted.slice(0, -1), tag: wanted.slice(-1) },
    ];
    origin.set(new URL(wanted.slice(0, -1)).pathname, { content: forged });
    for (const [index, forgery] of forgeries.entries()) {
      expect((await download(forgery)).taskId).toBe(id);
      const path = outputPath(`believed-${index}`);
      await download({ url: wanted, outputPath: path });
      expect(
        createHash("sha256")
          .update(await readFile(path))
          .digest("hex"),
      ).toBe(createHash("sha256").update(CONTENT).digest("hex"));
      await client.deleteLocalTask({ taskId: id });
    }
  });

  it("ends at the time that the request gives it", async () => {
    const url = serveFile();
    origin.set(new URL(url).pathname, {
      content: CONTENT,
      beforeChunk: () => new Promise(() => {}),
    });
    const failure = await failureOf({ url, timeout: { seconds: 0, nanos: 300_000_000 } });
    expect(failure).toMatchObject({ code: "DEADLINE_EXCEEDED" });
    expect(failure.reason).toContain("longer than 0.3 s");
  });
});

describe("what DownloadTask cannot do", () => {
  it.each<[string, Download, string, string]>([
    ["a URL that cannot be read", { url: "nowhere" }, "INTERNAL", "is not a URL"],
    [
      "one whose task id it cannot make",
      { url: "nowhere", filteredQueryParams: ["a"] },
      "INVALID_ARGUMENT",
      "cannot be parsed",
    ],
    [
      "a blob whose digest is none",
      { url: "http://host/v2/a/blobs/latest", enableTaskIdBasedBlobDigest: true },
      "INVALID_ARGUMENT",
      "digest",
    ],
    ["another kind of origin", { url: "s3://bucket/key" }, "INTERNAL", "expected http or https"],
    ["a digest that is none", { url: "http://h/f", digest: "md5:00" }, "INTERNAL", "md5:00"],
    ["too short pieces", { url: "http://h/f", pieceLength: 1 }, "INVALID_ARGUMENT", "expected"],
  ])("refuses %s", async (_, fields, code, reason) => {
    const failure = await failureOf(fields);
    expect(failure.code).toBe(code);
    expect(failure.reason).toContain(reason);
  });

  it("refuses a request without a download", async () => {
    const calling = async (): Promise<void> => {
      for await (const _ of client.downloadTask({}));
    };
    await expect(calling()).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("refuses a part that does not exist", async () => {
    const url = serveFile();
    for (const fields of [
      { range: { start: LENGTH, length: 1 } },
      { requestHeader: { Range: "bytes=9-3" } },
      { requestHeader: { range: "lines=1-2" } },
    ])
      expect(await failureOf({ url, ...fields })).toMatchObject({ code: "FAILED_PRECONDITION" });
  });

  it("hands on what the origin said, as JSON", async () => {
    origin.set("/forbidden", { status: 403, header: { "x-why": "because" } });
    const failure = await failureOf({ url: `${origin.url}/forbidden` });
    expect(failure.code).toBe("INTERNAL");
    expect(backendDetails(failure)).toMatchObject({
      statusCode: 403,
      header: { "x-why": "because" },
    });
    expect(JSON.parse(Buffer.from(failure.details!).toString())).toHaveProperty("status_code", 403);
  });

  it("ends as Dragonfly's does where the origin may not be asked", async () => {
    const failure = await failureOf({ url: serveFile(), disableBackToSource: true });
    expect(failure.code).toBe("INTERNAL");
    expect(failure.reason).toMatch(/download failed$/);
  });

  it("says that there is no space before it fetches anything", async () => {
    const url = serveFile();
    origin.set(new URL(url).pathname, { content: CONTENT, announcedExtraBytes: 2 ** 50 });
    const failure = await failureOf({ url });
    expect(failure.code).toBe("INTERNAL");
    expect(failure.reason).toContain("bytes free");
    expect(origin.bodyBytes(new URL(url).pathname)).toBeLessThan(PIECE_LENGTH);
  });

  it("remembers that a task failed until it succeeds", async () => {
    const url = serveFile();
    const { taskId } = await download({ url, metadataOnly: true });
    await failureOf({ url, disableBackToSource: true });
    expect((await client.statLocalTask({ taskId })).failedAt).toBeTruthy();
    await download({ url });
    expect((await client.statLocalTask({ taskId })).failedAt).toBeFalsy();
  });

  it("does not hold another's digest against the task", async () => {
    const url = serveFile();
    const digest = SHA256.replace(/.$/, (last) => (last === "0" ? "1" : "0"));
    const failure = await failureOf({ url, digest, outputPath: outputPath("wrong") });
    expect(failure).toMatchObject({ code: "DATA_LOSS" });
    const { taskId } = await download({ url, metadataOnly: true });
    expect((await client.statLocalTask({ taskId })).failedAt).toBeFalsy();
  });
});

describe("the other services", () => {
  it("say what the origin says of a file, and that HTTP has no directories", async () => {
    const url = serveFile();
    const listed = await client.listTaskEntries({ url, timeout: { seconds: 10 } });
    expect(listed).toMatchObject({ contentLength: LENGTH, statusCode: 200, entries: [] });
    expect(listed.responseHeader).toHaveProperty("etag");
    await expect(client.listTaskEntries({ url: `${origin.url}/dir/` })).rejects.toMatchObject({
      code: "UNIMPLEMENTED",
    });
    const missing = client.listTaskEntries({ url: `${origin.url}/nothing` });
    await expect(missing).rejects.toMatchObject({ code: "INTERNAL" });
    const other = client.listTaskEntries({ url: "hdfs://h/f", hdfs: {} });
    await expect(other).rejects.toMatchObject({ code: "INTERNAL" });
  });

  it("say what they do not serve", async () => {
    const sentence = expect.stringContaining("this daemon serves standard tasks only");
    await expect(client.statPersistentTask({})).rejects.toMatchObject({
      code: "UNIMPLEMENTED",
      reason: sentence,
    });
    const streaming = async (): Promise<void> => {
      for await (const _ of client.downloadPersistentCacheTask({}));
    };
    await expect(streaming()).rejects.toMatchObject({ code: "UNIMPLEMENTED", reason: sentence });
  });

  it("delete what is here, and say when there is nothing", async () => {
    const { taskId } = await download({ url: serveFile() });
    await client.deleteLocalTask({ taskId });
    for (const gone of [client.deleteLocalTask({ taskId }), client.statLocalTask({ taskId })]) {
      await expect(gone).rejects.toMatchObject({
        code: "NOT_FOUND",
        reason: `local task not found: ${taskId}`,
      });
    }
  });
});

describe("Dragonfly's dfget, which takes only a refusal without any message for one", () => {
  it("is refused so while nothing has begun", async () => {
    const response = await callRaw({ url: `${origin.url}/nothing-there`, priority: "LEVEL6" });
    expect(response.headers).toMatchObject({ "grpc-status": "13" });
    const details = Buffer.from(String(response.headers["grpc-status-details-bin"]), "base64");
    expect(JSON.parse(details.toString())).toMatchObject({ status_code: 404 });
  });

  it("finds a file to remove when a download fails later, where our own finds none", async () => {
    const before = await readdir(bench.directory);
    const url = serveFile();
    const digest = `crc32:1`;
    await failureOf({ url, digest, outputPath: outputPath("ours") });
    expect(await readdir(bench.directory)).toEqual(before);
    const tonic = { "grpc.primary_user_agent": "tonic/0.14.2" };
    await using theirs = createDfdaemonDownloadClient(daemon, { channelOptions: tonic });
    await failureOf({ url, digest, outputPath: outputPath("theirs") }, theirs);
    expect(await readFile(outputPath("theirs"), "utf8")).toBe("");
    // What is there already is left as it is.
    await writeFile(outputPath("kept"), "kept");
    await failureOf({ url, digest, outputPath: outputPath("kept"), overwrite: true }, theirs);
    expect(await readFile(outputPath("kept"), "utf8")).toBe("kept");
  });
});

function headersOf(stream: ClientHttp2Stream): Promise<IncomingHttpHeaders> {
  return new Promise((resolve, reject) => {
    stream.once("response", resolve);
    stream.once("error", reject);
    stream.resume();
  });
}

/** A DownloadTask call without gRPC's library, which hides whether there were headers before the status. */
async function callRaw(fields: Download): Promise<{ readonly headers: IncomingHttpHeaders }> {
  const method = loadService("dfdaemon.v2.DfdaemonDownload").methods.get("downloadTask");
  const message = method!.requestSerialize({ download: fields });
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  const session = connect("http://localhost", {
    createConnection: () => connectSocket({ path: daemon.socketPath }),
  });
  try {
    const stream = session.request({
      ":method": "POST",
      ":path": "/dfdaemon.v2.DfdaemonDownload/DownloadTask",
      "content-type": "application/grpc",
      te: "trailers",
    });
    stream.end(Buffer.concat([prefix, message]));
    return { headers: await headersOf(stream) };
  } finally {
    session.destroy();
  }
}
