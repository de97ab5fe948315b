import {
  implementService,
  serveRpc,
  status,
  type DownloadPieceResponse,
  type RpcServer,
  type StatusName,
} from "@damselfly/rpc";
import { createTestAuthority } from "@damselfly/rpc/testing";
import type { ParentAddress, PieceDownload, TlsIdentity } from "@damselfly/transport";
import { codeOf, readPiece, SyntheticSource, TASK_ID } from "@damselfly/transport/conformance";
import { once } from "node:events";
import { createServer } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { createGrpcDownloader, type GrpcDownloaderOptions } from "./grpc-downloader.ts";
import { serveGrpc } from "./serve-grpc.ts";

const disposables: AsyncDisposable[] = [];

afterEach(async () => {
  for (const each of disposables.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

const anywhere = { ip: "127.0.0.1", port: 0 };

/** The code that downloading a piece of 1000 bytes ends in, or how many bytes came. */
async function outcomeOf(
  parent: ParentAddress,
  request = { taskId: TASK_ID, pieceNumber: 0 },
  options: GrpcDownloaderOptions = {},
): Promise<unknown> {
  const downloader = createGrpcDownloader(options);
  disposables.push(downloader);
  const work = downloader.downloadPiece(parent, request).then(lengthOf);
  return work.catch(() => codeOf(work));
}

async function lengthOf({ content }: PieceDownload): Promise<number> {
  let length = 0;
  for await (const chunk of content) length += chunk.byteLength;
  return length;
}

function parentAt(address: unknown, hostname?: string): ParentAddress {
  const hasPort = typeof address === "object" && address !== null && "port" in address;
  if (!hasPort || typeof address.port !== "number") throw new TypeError("A port is wanted");
  const named = hostname === undefined ? {} : { hostname };
  return { hostId: "parent", ip: "127.0.0.1", ports: { grpc: address.port }, ...named };
}

describe("a parent's identity", async () => {
  const authority = await createTestAuthority();
  const node = await authority.issue();
  const stranger = await (await createTestAuthority()).issue();

  async function serve(tls?: TlsIdentity): Promise<object> {
    const source = new SyntheticSource();
    source.add(0, { length: 1000 });
    const server = await serveGrpc({ source, tls, address: anywhere });
    disposables.push(server);
    return server.address;
  }

  it("is its hostname, where that is known", async () => {
    const address = await serve(await authority.issue({ dnsNames: ["d7y", "node-7"] }));
    const options = { tls: node };
    expect(await outcomeOf(parentAt(address, "node-7"), undefined, options)).toBe(1000);
    const other = parentAt(address, "node-8");
    expect(await outcomeOf(other, undefined, options)).toBe("ERR_PARENT_UNTRUSTED");
  });

  it("is not believed when another authority vouches for it", async () => {
    const parent = parentAt(await serve(stranger));
    expect(await outcomeOf(parent, undefined, { tls: node })).toBe("ERR_PARENT_UNTRUSTED");
  });

  it("is checked the other way round, too, which a child sees as a closed connection", async () => {
    const parent = parentAt(await serve(node));
    const impostor = { ...stranger, caCert: authority.caCert };
    const downloader = createGrpcDownloader({ tls: impostor });
    disposables.push(downloader);
    const downloading = downloader.downloadPiece(parent, { taskId: TASK_ID, pieceNumber: 0 });
    await expect(downloading).rejects.toMatchObject({
      code: "ERR_PARENT_UNREACHABLE",
      message:
        "Cannot download piece 0 from parent: the connection was closed at once: the other side may want TLS, or not trust this node",
    });
  });

  it("cannot be had from a plain parent, nor a plain child from a parent with TLS", async () => {
    const plain = parentAt(await serve());
    expect(await outcomeOf(plain, undefined, { tls: node })).toBe("ERR_PARENT_UNTRUSTED");
    const secure = parentAt(await serve(node));
    expect(await outcomeOf(secure)).toBe("ERR_PARENT_UNREACHABLE");
  });
});

describe("a parent that breaks the protocol", () => {
  const metadata = { number: 0, offset: 0, length: 1000, digest: "crc32:0" };
  const content = new Uint8Array(1000);

  async function serveReplies(replies: readonly DownloadPieceResponse[]): Promise<RpcServer> {
    const service = implementService("damselfly.v1.PieceTransfer", {
      async *downloadPiece() {
        yield* replies;
      },
    });
    const server = await serveRpc({ address: anywhere, services: [service] });
    disposables.push(server);
    return server;
  }

  it.each<[string, readonly DownloadPieceResponse[], string]>([
    ["says nothing", [], "ERR_PROTOCOL"],
    ["starts with content", [{ content }], "ERR_PROTOCOL"],
    ["sends another piece", [{ metadata: { ...metadata, number: 1 } }], "ERR_PROTOCOL"],
    [
      "announces more than can be counted",
      [{ metadata: { ...metadata, length: 2 ** 60 } }],
      "ERR_PROTOCOL",
    ],
    ["announces it twice", [{ metadata }, { metadata }], "ERR_PROTOCOL"],
    ["sends an empty message", [{ metadata }, { content: new Uint8Array(0) }], "ERR_PROTOCOL"],
    ["sends too much", [{ metadata }, { content }, { content }], "ERR_PROTOCOL"],
    ["sends too little", [{ metadata }, { content: content.subarray(1) }], "ERR_PIECE_TRUNCATED"],
    [
      "sends a message beyond the limit",
      [{ metadata }, { content: new Uint8Array(2 << 20) }],
      "ERR_PROTOCOL",
    ],
  ])("fails with its own code when it %s", async (_, replies, code) => {
    const { address } = await serveReplies(replies);
    expect(await outcomeOf(parentAt(address))).toBe(code);
  });

  it("fails when it has no such service", async () => {
    const server = await serveRpc({ address: anywhere, services: [] });
    disposables.push(server);
    expect(await outcomeOf(parentAt(server.address))).toBe("ERR_PROTOCOL");
  });

  it.each<[StatusName, string]>([
    ["NOT_FOUND", "ERR_PIECE_NOT_FOUND"],
    ["RESOURCE_EXHAUSTED", "ERR_PARENT_BUSY"],
    ["DATA_LOSS", "ERR_PARENT_FAILED"],
    ["INTERNAL", "ERR_PARENT_FAILED"],
    ["UNAVAILABLE", "ERR_PARENT_UNREACHABLE"],
    ["PERMISSION_DENIED", "ERR_PARENT_UNTRUSTED"],
    ["UNAUTHENTICATED", "ERR_PARENT_UNTRUSTED"],
    ["CANCELLED", "ERR_PARENT_UNREACHABLE"],
    ["ABORTED", "ERR_PROTOCOL"],
  ])("takes the status %s for %s", async (statusName, code) => {
    const service = implementService("damselfly.v1.PieceTransfer", {
      // oxlint-disable-next-line eslint/require-yield -- it answers with a status
      async *downloadPiece(): AsyncGenerator<DownloadPieceResponse> {
        throw status(statusName, "for a reason");
      },
    });
    const server = await serveRpc({ address: anywhere, services: [service] });
    disposables.push(server);
    expect(await outcomeOf(parentAt(server.address))).toBe(code);
  });
});

describe("connecting", () => {
  it("is given up when the parent accepts and says nothing", async () => {
    const server = createServer((socket) => socket.on("error", () => {})).listen(0, "127.0.0.1");
    await once(server, "listening");
    const options = { timeouts: { connectMs: 80 } };
    const outcome = await outcomeOf(parentAt(server.address()), undefined, options);
    server.close();
    expect(outcome).toBe("ERR_PARENT_UNREACHABLE");
  });

  it("is tried again at once when the parent is back", async () => {
    const source = new SyntheticSource();
    const request = source.add(0, { length: 1000 });
    const first = await serveGrpc({ source, address: anywhere });
    const parent = parentAt(first.address);
    const downloader = createGrpcDownloader();
    disposables.push(downloader);
    await readPiece(await downloader.downloadPiece(parent, request));
    await first.abort();
    for (let attempt = 0; attempt < 5; attempt += 1) {
      const failed = await codeOf(downloader.downloadPiece(parent, request));
      expect(failed).toBe("ERR_PARENT_UNREACHABLE");
    }
    disposables.push(await serveGrpc({ source, address: first.address }));
    expect(await readPiece(await downloader.downloadPiece(parent, request))).toBe(1000);
  });

  it("spreads pieces over a few connections, and shares them beyond that", async () => {
    const source = new SyntheticSource();
    const server = await serveGrpc({ source, address: anywhere });
    const downloader = createGrpcDownloader({ connectionCountMax: 3 });
    disposables.push(server, downloader);
    const parent = parentAt(server.address);
    const downloads = await Promise.all(
      Array.from({ length: 8 }, (_, number) =>
        downloader.downloadPiece(parent, source.add(number, { length: 1000 })),
      ),
    );
    expect(downloader.connectionCount).toBe(3);
    for (const download of downloads) expect(await readPiece(download)).toBe(1000);
    expect(downloader.connectionCount).toBe(3);
  });
});

describe("serveGrpc", () => {
  it("asks its source for nothing that is no task id", async () => {
    const source = new SyntheticSource();
    const server = await serveGrpc({ source, address: anywhere });
    disposables.push(server);
    for (const taskId of ["", "../../etc/passwd", "A".repeat(64), "0".repeat(65)]) {
      const request = { taskId, pieceNumber: 0 };
      expect(await outcomeOf(parentAt(server.address), request)).toBe("ERR_PROTOCOL");
    }
    expect(source.requestCount).toBe(0);
  });
});
