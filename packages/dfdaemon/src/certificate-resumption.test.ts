import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import { createIdentity, loadQuinn, quinnOpener } from "@damselfly/quinn";
import {
  loadQuiche,
  openQuicEndpoint,
  type QuicEndpoint,
  QuicError,
  type QuicTls,
} from "@damselfly/quic";
import { openTicket, type TicketScope, toTicket } from "@damselfly/quic/testing";
import { type CertificateChain, type ParentAddress, TlsStore } from "@damselfly/transport";
import { codeOf, readPiece, SyntheticSource } from "@damselfly/transport/conformance";
import { createTestAuthority } from "@damselfly/transport/testing";
import { serveGrpc } from "@damselfly/transport-grpc";
import {
  ALPN,
  createQuicDownloader,
  type QuicDownloader,
  type QuicPieceServer,
  serveQuic,
} from "@damselfly/transport-quic";
import {
  createTcpDownloader,
  serveTcp,
  type TcpDownloader,
  type TcpPieceServer,
} from "@damselfly/transport-tcp";
import { encodePacket, Tag } from "@damselfly/vortex";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { KnownPeers } from "./data-plane/known-peers.ts";

/*
 * What stands for a certificate once it was shown: tickets of TLS sessions over TCP and QUIC, and keys of quinn's peers. Each is worth the
 * certificate that it was given for and no longer than an hour. The clock is this test's, for everything but the libraries beneath.
 */

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const ANYWHERE = { ip: "127.0.0.1", port: 0 };
const TIMEOUTS = { connectMs: 20_000 };
const LENGTH = 1_000;

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

let aheadMs: number;
let source: SyntheticSource;
let parentTls: TlsStore;
let childTls: TlsStore;
let authority: Awaited<ReturnType<typeof createTestAuthority>>;
const opened: AsyncDisposable[] = [];

beforeEach(async () => {
  aheadMs = 0;
  const real = Date.now.bind(Date);
  vi.spyOn(Date, "now").mockImplementation(() => real() + aheadMs);
  authority = await createTestAuthority();
  source = new SyntheticSource();
});
afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each[Symbol.asyncDispose]();
  vi.restoreAllMocks();
});

function keep<Resource extends AsyncDisposable>(resource: Resource): Resource {
  opened.push(resource);
  return resource;
}

/** @param hours how long each side's certificate is good for */
async function issue(hours: { readonly parent: number; readonly child: number }): Promise<void> {
  const until = (count: number): Date => new Date(Date.now() + count * HOUR_MS);
  parentTls = new TlsStore(
    await authority.issue({ dnsNames: ["d7y", "parent"], validUntil: until(hours.parent) }),
  );
  childTls = new TlsStore(
    await authority.issue({ dnsNames: ["d7y", "child"], validUntil: until(hours.child) }),
  );
}

const serialOf = ({ current }: TlsStore): string => new X509Certificate(current.cert).serialNumber;
const chainOf = ({ current }: TlsStore): CertificateChain => [
  new X509Certificate(current.cert).raw,
];

function revokeAt(where: TlsStore, whose: TlsStore): void {
  where.update({ ...where.current, revoked: [serialOf(whose)] });
}

/** A way by which a child comes again with what it was given before. */
interface Way {
  readonly fetch: (number: number) => Promise<number>;
  /** Connections made so far under what was given before. */
  readonly resumedCount: () => number;
  /** Resolves when no connection is kept: the next piece needs a new one. */
  readonly untilIdle: () => Promise<void>;
}

const common = { hostId: "parent", hostname: "parent", ip: "127.0.0.1" };

async function fetchBy(
  downloader: TcpDownloader | QuicDownloader,
  parent: ParentAddress,
  number: number,
): Promise<number> {
  const request = source.add(number, { length: LENGTH });
  return await readPiece(await downloader.downloadPiece(parent, request));
}

async function openTcp(): Promise<Way> {
  const server: TcpPieceServer = keep(
    await serveTcp({ source, tls: parentTls, plain: false, address: ANYWHERE }),
  );
  const pool = { idleTimeoutMs: 1 };
  const downloader = keep(createTcpDownloader({ tls: childTls, timeouts: TIMEOUTS, pool }));
  const parent = { ...common, ports: { tcp: server.address.port } };
  return {
    fetch: (number) => fetchBy(downloader, parent, number),
    resumedCount: () => server.stats().resumedCount,
    untilIdle: () => expect.poll(() => downloader.connectionCount, { interval: 5 }).toBe(0),
  };
}

async function openQuiche(): Promise<Way> {
  const server: QuicPieceServer = keep(
    await serveQuic({ source, tls: parentTls, address: ANYWHERE }),
  );
  const pool = { idleTimeoutMs: 50 };
  const downloader = keep(createQuicDownloader({ tls: childTls, timeouts: TIMEOUTS, pool }));
  const parent = { ...common, ports: { quic: [server.address.port] } };
  return {
    fetch: (number) => fetchBy(downloader, parent, number),
    resumedCount: () => server.stats().earlyAcceptedCount,
    untilIdle: () => expect.poll(() => downloader.connectionCount, { interval: 5 }).toBe(0),
  };
}

const REFUSALS = ["ERR_PARENT_UNTRUSTED", "ERR_PARENT_UNREACHABLE"];

const RESUMING: [string, () => Promise<Way>][] = [
  ["TLS over TCP", openTcp],
  ...(hasQuiche ? ([["QUIC quiche", openQuiche]] satisfies [string, () => Promise<Way>][]) : []),
];

describe.each(RESUMING)("a ticket of %s", (_, openWay) => {
  /** A child that has been there, and comes again with a ticket, which is taken. */
  async function comeAgain(hours = { parent: 24, child: 24 }): Promise<Way> {
    await issue(hours);
    const way = await openWay();
    expect(await way.fetch(0)).toBe(LENGTH);
    await way.untilIdle();
    expect(await way.fetch(1)).toBe(LENGTH);
    // A server counts it when the handshake is over, which may be after the first answer.
    await expect.poll(way.resumedCount).toBe(1);
    await way.untilIdle();
    return way;
  }

  it("is worth nothing to a child whose certificate was revoked since", async () => {
    const way = await comeAgain();
    revokeAt(parentTls, childTls);
    const { requestCount } = source;
    expect(REFUSALS).toContain(await codeOf(way.fetch(2)));
    expect(source.requestCount).toBe(requestCount);
    parentTls.update({ ...parentTls.current, revoked: [] });
    expect(await way.fetch(3)).toBe(LENGTH);
  });

  // Well within the hour for which the ticket would be honoured.
  it("is worth nothing to a child whose certificate has run out since", async () => {
    const way = await comeAgain({ parent: 24, child: 0.5 });
    aheadMs = 29 * MINUTE_MS;
    expect(await way.fetch(2)).toBe(LENGTH);
    await expect.poll(way.resumedCount).toBe(2);
    await way.untilIdle();
    const { requestCount } = source;
    aheadMs = 30 * MINUTE_MS + 1_000;
    expect(REFUSALS).toContain(await codeOf(way.fetch(3)));
    expect(source.requestCount).toBe(requestCount);
  });

  it("is not used for a parent whose certificate was revoked since", async () => {
    const way = await comeAgain();
    revokeAt(childTls, parentTls);
    const { requestCount } = source;
    expect(await codeOf(way.fetch(2))).toBe("ERR_PARENT_UNTRUSTED");
    expect(source.requestCount).toBe(requestCount);
    childTls.update({ ...childTls.current, revoked: [] });
    expect(await way.fetch(3)).toBe(LENGTH);
  });

  it("is not used for a parent whose certificate has run out since", async () => {
    const way = await comeAgain({ parent: 0.5, child: 24 });
    aheadMs = 30 * MINUTE_MS + 1_000;
    expect(await codeOf(way.fetch(2))).toBe("ERR_PARENT_UNTRUSTED");
    aheadMs = 0;
    expect(await way.fetch(3)).toBe(LENGTH);
  });

  it("is not honoured after an hour: the child shows its certificate again", async () => {
    const way = await comeAgain();
    aheadMs = HOUR_MS;
    expect(await way.fetch(2)).toBe(LENGTH);
    expect(way.resumedCount()).toBe(1);
    await way.untilIdle();
    // And so for another hour.
    expect(await way.fetch(3)).toBe(LENGTH);
    await expect.poll(way.resumedCount).toBe(2);
  });

  it("is not honoured once anything of certificates has changed at the parent", async () => {
    const way = await comeAgain();
    parentTls.update({ ...parentTls.current, revoked: ["5A"] });
    expect(await way.fetch(2)).toBe(LENGTH);
    expect(way.resumedCount()).toBe(1);
  });
});

/** What a thief has got: a session, and neither certificate nor key. */
async function stealSession(port: number, alpn: string): Promise<Buffer> {
  const { cert, key } = childTls.current;
  const socket = dial(port, { cert, key, ALPNProtocols: [alpn] });
  const [session] = await once(socket, "session");
  socket.destroy();
  if (!(session instanceof Buffer)) throw new TypeError("no session");
  return session;
}

function dial(port: number, options: ConnectionOptions): TLSSocket {
  const socket = connect({
    host: "127.0.0.1",
    port,
    ca: authority.caCert,
    servername: "d7y",
    ...options,
  });
  socket.on("error", () => {});
  return socket;
}

async function openEndpoint(tls: QuicTls): Promise<QuicEndpoint> {
  return keep(await openQuicEndpoint({ address: ANYWHERE, alpn: ALPN, tls, earlyData: true }));
}

function scopeOf(tls: QuicTls): TicketScope {
  return { tls, alpn: ALPN, serverName: "d7y" };
}

/** Whether a request is answered on it. */
async function isServed(socket: TLSSocket, request: Uint8Array): Promise<boolean> {
  socket.write(request);
  const isAnswered = await new Promise<boolean>((resolve) => {
    socket.once("data", () => resolve(true));
    socket.once("close", () => resolve(false));
  });
  socket.destroy();
  return isAnswered;
}

describe("a stolen session, without the certificate", () => {
  const request = encodePacket({
    kind: "request",
    id: 1,
    tag: Tag.DownloadPiece,
    taskId: "0123456789abcdef".repeat(4),
    pieceNumber: 0,
  });

  it("serves its thief over TCP until the certificate is revoked, and for an hour at most", async () => {
    await issue({ parent: 24, child: 24 });
    source.add(0, { length: LENGTH });
    const server = keep(
      await serveTcp({ source, tls: parentTls, plain: false, address: ANYWHERE }),
    );
    const { port } = server.address;
    const ALPNProtocols = ["d7y-vortex/1"];
    const session = await stealSession(port, "d7y-vortex/1");
    const comes = (): Promise<boolean> => isServed(dial(port, { session, ALPNProtocols }), request);
    // That is what a ticket is: whoever has it passes for the node.
    expect(await comes()).toBe(true);
    aheadMs = 59 * MINUTE_MS;
    expect(await comes()).toBe(true);
    aheadMs = HOUR_MS;
    expect(await comes()).toBe(false);

    const another = await stealSession(port, "d7y-vortex/1");
    revokeAt(parentTls, childTls);
    expect(await isServed(dial(port, { session: another, ALPNProtocols }), request)).toBe(false);
  });

  it.runIf(hasQuiche)(
    "serves its thief over QUIC quiche until the certificate is revoked, and for an hour at most",
    async () => {
      await issue({ parent: 24, child: 24 });
      source.add(0, { length: LENGTH });
      const server = keep(await serveQuic({ source, tls: parentTls, address: ANYWHERE }));
      const owner = await openEndpoint(childTls.current);
      // The authority's certificate is no secret. His own one is of another authority, and of the same name.
      const own = await (await createTestAuthority()).issue({ dnsNames: ["d7y", "child"] });
      const thief = { ...own, caCert: authority.caCert };
      const endpoint = await openEndpoint(thief);
      const steal = async (): Promise<Uint8Array> => {
        const connection = await owner.dial(server.address);
        await expect.poll(() => connection.ticket, { timeout: 10_000 }).toBeDefined();
        connection.close(0);
        const ticket = connection.ticket ?? new Uint8Array(0);
        const stolen = openTicket(ticket, scopeOf(childTls.current), Date.now());
        if (stolen === undefined) throw new TypeError("no session");
        // What ties it to its owner's certificate, and to an hour, is on his side only.
        return toTicket(stolen.session, scopeOf(thief), Date.now() + 24 * HOUR_MS);
      };
      const comes = async (ticket: Uint8Array | undefined): Promise<boolean> => {
        try {
          const connection = await endpoint.dial(server.address, { ticket });
          const stream = connection.openStream();
          await stream.end(request);
          const length = await stream.read(Buffer.alloc(LENGTH));
          connection.close(0);
          return length > 0;
        } catch (error) {
          if (error instanceof QuicError) return false;
          throw error;
        }
      };
      const ticket = await steal();
      expect(await comes(undefined)).toBe(false);
      expect(await comes(ticket)).toBe(true);
      aheadMs = 59 * MINUTE_MS;
      expect(await comes(ticket)).toBe(true);
      aheadMs = HOUR_MS;
      expect(await comes(ticket)).toBe(false);

      const another = await steal();
      expect(await comes(another)).toBe(true);
      revokeAt(parentTls, childTls);
      expect(await comes(another)).toBe(false);
    },
  );

  it("serves nobody over gRPC, where no session is resumed", async () => {
    await issue({ parent: 24, child: 24 });
    const server = keep(await serveGrpc({ source, tls: parentTls, address: ANYWHERE }));
    const { port } = server.address;
    const session = await stealSession(port, "h2");
    const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    const { cert, key } = childTls.current;
    const ALPNProtocols = ["h2"];
    expect(await isServed(dial(port, { session, ALPNProtocols }), preface)).toBe(false);
    const owner = dial(port, { session, cert, key, ALPNProtocols });
    await once(owner, "secureConnect");
    expect(owner.isSessionReused()).toBe(false);
    expect(await isServed(owner, preface)).toBe(true);
  });
});

describe.runIf(hasQuinn)("a key of QUIC quinn", () => {
  interface KeyedEnds {
    readonly fetch: (number: number) => Promise<number>;
    readonly dismiss: () => void;
  }

  async function openQuinn(graceMs?: number): Promise<KeyedEnds> {
    const [parentKey, childKey] = [createIdentity(), createIdentity()];
    const peers = new KnownPeers({
      tls: parentTls,
      ...(graceMs === undefined ? {} : { graceMs }),
    });
    const dismiss = peers.admit(childKey.publicKey, chainOf(childTls));
    const { privateKey } = parentKey;
    const server = keep(
      await serveQuic({
        source,
        tls: parentTls,
        address: ANYWHERE,
        openEndpoint: quinnOpener({ privateKey, isKnownPeer: (key) => peers.has(key) }),
      }),
    );
    const quinn = {
      port: server.address.port,
      key: parentKey.peerKey,
      certificates: chainOf(parentTls),
    };
    const parent = { ...common, ports: {}, quinn };
    return {
      dismiss,
      // A new connection each time: nothing is kept but what each side knows of the other's key.
      async fetch(number) {
        const downloader = createQuicDownloader({
          tls: childTls,
          timeouts: TIMEOUTS,
          backend: "quinn",
          openEndpoint: quinnOpener({ privateKey: childKey.privateKey }),
        });
        try {
          return await fetchBy(downloader, parent, number);
        } finally {
          await downloader[Symbol.asyncDispose]();
        }
      },
    };
  }

  it("is worth the certificate that was shown where it was told, at either end", async () => {
    await issue({ parent: 24, child: 24 });
    const { fetch } = await openQuinn();
    expect(await fetch(0)).toBe(LENGTH);
    revokeAt(parentTls, childTls);
    expect(await codeOf(fetch(1))).toBe("ERR_PARENT_UNTRUSTED");
    parentTls.update({ ...parentTls.current, revoked: [] });
    expect(await fetch(2)).toBe(LENGTH);
    revokeAt(childTls, parentTls);
    expect(await codeOf(fetch(3))).toBe("ERR_PARENT_UNTRUSTED");
    childTls.update({ ...childTls.current, revoked: [] });
    expect(await fetch(4)).toBe(LENGTH);
  });

  it.each([
    ["child", { parent: 24, child: 1 }],
    ["parent", { parent: 1, child: 24 }],
  ])("is worth nothing once the %s's certificate has run out", async (_, hours) => {
    await issue(hours);
    const { fetch } = await openQuinn();
    aheadMs = 55 * MINUTE_MS;
    expect(await fetch(0)).toBe(LENGTH);
    aheadMs = HOUR_MS + 1_000;
    expect(await codeOf(fetch(1))).toBe("ERR_PARENT_UNTRUSTED");
  });

  it("is forgotten an hour after nobody speaks for it any more", async () => {
    await issue({ parent: 24, child: 24 });
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    let ends: KeyedEnds;
    try {
      ends = await openQuinn();
      ends.dismiss();
      vi.advanceTimersByTime(HOUR_MS - 1);
      vi.useRealTimers();
      expect(await ends.fetch(0)).toBe(LENGTH);
    } finally {
      vi.useRealTimers();
    }
    const short = await openQuinn(1);
    short.dismiss();
    await expect
      .poll(() => codeOf(short.fetch(1)).catch(() => "served"))
      .toBe("ERR_PARENT_UNTRUSTED");
  });
});
