import { X509Certificate } from "node:crypto";
import { createIdentity, loadQuinn, quinnOpener } from "@damselfly/quinn";
import { loadQuiche } from "@damselfly/quic";
import {
  type CertificateChain,
  type Downloader,
  type ParentAddress,
  type PieceServer,
  type TlsIdentity,
  TlsStore,
} from "@damselfly/transport";
import { codeOf, createGate, readPiece, SyntheticSource } from "@damselfly/transport/conformance";
import { createTestAuthority, type TestAuthority } from "@damselfly/transport/testing";
import { createGrpcDownloader, serveGrpc } from "@damselfly/transport-grpc";
import { createQuicDownloader, serveQuic } from "@damselfly/transport-quic";
import { createTcpDownloader, serveTcp } from "@damselfly/transport-tcp";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { KnownPeers } from "./data-plane/known-peers.ts";

/*
 * What becomes of pieces that run, and of new ones, when certificates or the list of the revoked change at either end. Over every way that
 * pieces take, on real sockets, with the identities pushed as a daemon pushes them.
 */

const ANYWHERE = { ip: "127.0.0.1", port: 0 };
const LENGTH = 300_000;
const TIMEOUTS = { connectMs: 20_000, stallMs: 60_000 };

const hasQuiche = await loadQuiche().then(
  () => true,
  () => false,
);
const hasQuinn = ((): boolean => {
  try {
    loadQuinn();
    return true;
  } catch {
    return false;
  }
})();
const WAYS = ["TCP", "gRPC", "QUIC quiche", "QUIC quinn"].filter(
  (way) => (way !== "QUIC quiche" || hasQuiche) && (way !== "QUIC quinn" || hasQuinn),
);

interface Ends {
  readonly server: PieceServer;
  readonly downloader: Downloader;
  readonly parent: ParentAddress;
}

let authority: TestAuthority;
/** Of the parent and of the child, as their control processes would push them. */
let parentTls: TlsStore;
let childTls: TlsStore;
let source: SyntheticSource;
const opened: AsyncDisposable[] = [];

beforeEach(async () => {
  authority = await createTestAuthority();
  parentTls = new TlsStore(await authority.issue({ dnsNames: ["d7y", "parent"] }));
  childTls = new TlsStore(await authority.issue({ dnsNames: ["d7y", "child"] }));
  source = new SyntheticSource();
});
afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

const chainOf = ({ cert }: TlsIdentity): CertificateChain => [new X509Certificate(cert).raw];
const serialOf = ({ cert }: TlsIdentity): string => new X509Certificate(cert).serialNumber;

async function open(way: string): Promise<Ends> {
  const ends = await openEnds(way);
  opened.push(ends.server, ends.downloader);
  return ends;
}

async function openEnds(way: string): Promise<Ends> {
  const common = { hostId: "parent", hostname: "parent", ip: "127.0.0.1" };
  const child = { tls: childTls, timeouts: TIMEOUTS };
  switch (way) {
    case "TCP": {
      const server = await serveTcp({ source, tls: parentTls, plain: false, address: ANYWHERE });
      const parent = { ...common, ports: { tcp: server.address.port } };
      return { server, downloader: createTcpDownloader(child), parent };
    }
    case "gRPC": {
      const server = await serveGrpc({ source, tls: parentTls, address: ANYWHERE });
      const parent = { ...common, ports: { grpc: server.address.port } };
      return { server, downloader: createGrpcDownloader(child), parent };
    }
    case "QUIC quiche": {
      const server = await serveQuic({ source, tls: parentTls, address: ANYWHERE });
      const parent = { ...common, ports: { quic: [server.address.port] } };
      return { server, downloader: createQuicDownloader(child), parent };
    }
    default: {
      // What the control channel would have told each of the other.
      const [parentKey, childKey] = [createIdentity(), createIdentity()];
      const peers = new KnownPeers({ tls: parentTls });
      peers.admit(childKey.publicKey, chainOf(childTls.current));
      const server = await serveQuic({
        source,
        tls: parentTls,
        address: ANYWHERE,
        openEndpoint: quinnOpener({
          privateKey: parentKey.privateKey,
          isKnownPeer: (key) => peers.has(key),
        }),
      });
      const downloader = createQuicDownloader({
        ...child,
        backend: "quinn",
        openEndpoint: quinnOpener({ privateKey: childKey.privateKey }),
      });
      const { port } = server.address;
      const certificates = chainOf(parentTls.current);
      const quinn = { port, key: parentKey.peerKey, certificates };
      return { server, downloader, parent: { ...common, ports: {}, quinn } };
    }
  }
}

/** A piece that has begun to arrive and stands still until it is told to go on. */
async function begin(
  { downloader, parent }: Ends,
  number = 0,
): Promise<{ readonly goOn: () => void; readonly end: Promise<number> }> {
  const gate = createGate();
  const request = source.add(number, {
    length: LENGTH,
    pauseAt: 100_000,
    pause: () => gate.opened,
  });
  const download = await downloader.downloadPiece(parent, request);
  const end = readPiece(download);
  end.catch(() => undefined);
  await source.until(() => source.pulledLength >= 100_000, "the piece has begun");
  return { goOn: () => gate.open(), end };
}

async function fetch({ downloader, parent }: Ends, number: number): Promise<number> {
  const request = source.add(number, { length: 1_000 });
  return await readPiece(await downloader.downloadPiece(parent, request));
}

const REFUSALS = ["ERR_PARENT_UNTRUSTED", "ERR_PARENT_UNREACHABLE"];

describe.each(WAYS)("over %s", (way) => {
  it("a piece goes on when either end takes another certificate, and the next one comes too", async () => {
    const ends = await open(way);
    const piece = await begin(ends);
    parentTls.update(await authority.issue({ dnsNames: ["d7y", "parent"] }));
    childTls.update(await authority.issue({ dnsNames: ["d7y", "child"] }));
    expect(await fetch(ends, 1)).toBe(1_000);
    piece.goOn();
    expect(await piece.end).toBe(LENGTH);
    expect(await fetch(ends, 2)).toBe(1_000);
  });

  it("a piece goes on when somebody else is revoked", async () => {
    const ends = await open(way);
    const piece = await begin(ends);
    parentTls.update({ ...parentTls.current, revoked: ["5A"] });
    childTls.update({ ...childTls.current, revoked: ["5A"] });
    piece.goOn();
    expect(await piece.end).toBe(LENGTH);
    expect(await fetch(ends, 1)).toBe(1_000);
  });

  it("a child that becomes revoked loses its connection, and gets no other until it has another certificate", async () => {
    const ends = await open(way);
    const piece = await begin(ends);
    parentTls.update({ ...parentTls.current, revoked: [serialOf(childTls.current)] });
    await expect(piece.end).rejects.toMatchObject({ code: expect.stringMatching(/^ERR_P/) });
    await source.untilFree();
    const { requestCount } = source;
    expect(REFUSALS).toContain(await codeOf(fetch(ends, 1)));
    expect(source.requestCount).toBe(requestCount);
    parentTls.update({ ...parentTls.current, revoked: [] });
    expect(await fetch(ends, 2)).toBe(1_000);
  });

  it("a parent that becomes revoked is asked for nothing more, and what it sends is not taken", async () => {
    const ends = await open(way);
    const piece = await begin(ends);
    childTls.update({ ...childTls.current, revoked: [serialOf(parentTls.current)] });
    await expect(piece.end).rejects.toMatchObject({
      message: expect.stringMatching(/is revoked|closed|broke|lost/i),
    });
    await source.untilFree();
    const { requestCount } = source;
    expect(await codeOf(fetch(ends, 1))).toBe("ERR_PARENT_UNTRUSTED");
    expect(source.requestCount).toBe(requestCount);
    childTls.update({ ...childTls.current, revoked: [] });
    expect(await fetch(ends, 2)).toBe(1_000);
  });

  it("an authority gives way to another without a piece being lost, and is worth nothing once it is taken out", async () => {
    const ends = await open(way);
    const next = await createTestAuthority();
    const [former, later] = [authority.caCert, next.caCert];
    const both = `${former}\n${later}`;
    const piece = await begin(ends);
    // Both are trusted everywhere, before anybody shows a certificate of the new one.
    for (const tls of [parentTls, childTls]) tls.update({ ...tls.current, caCert: both });
    expect(await fetch(ends, 1)).toBe(1_000);
    const renewed = await next.issue({ dnsNames: ["d7y", "parent"] });
    parentTls.update({ ...renewed, caCert: both });
    expect(await fetch(ends, 2)).toBe(1_000);
    piece.goOn();
    expect(await piece.end).toBe(LENGTH);
    // The child still shows one of the former authority.
    const late = await begin(ends, 3);
    parentTls.update({ ...parentTls.current, caCert: later });
    await expect(late.end).rejects.toMatchObject({ code: expect.stringMatching(/^ERR_P/) });
    expect(REFUSALS).toContain(await codeOf(fetch(ends, 4)));
  });
});
