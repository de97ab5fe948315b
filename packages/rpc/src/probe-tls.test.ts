import { createTestAuthority, type TestAuthority } from "./testing.ts";
import type { TlsIdentity } from "@damselfly/transport";
import { once } from "node:events";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { probeTls, type TlsProbe } from "./probe-tls.ts";
import { serveRpc } from "./serve-rpc.ts";

const LOOPBACK = "127.0.0.1";
let authority: TestAuthority;
let ours: TlsIdentity;
const opened: AsyncDisposable[] = [];

beforeAll(async () => {
  authority = await createTestAuthority();
  ours = await authority.issue({ dnsNames: ["d7y", "us"] });
});

afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

async function listen(server: Server): Promise<{ ip: string; port: number }> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
  });
  server.listen(0, LOOPBACK);
  await once(server, "listening");
  opened.push({
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  });
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a TCP server has such an address
  return { ip: LOOPBACK, port: (server.address() as AddressInfo).port };
}

async function serve(tls?: TlsIdentity): Promise<{ ip: string; port: number }> {
  const server = await serveRpc({ address: { ip: LOOPBACK, port: 0 }, services: [], tls });
  opened.push(server);
  if (!("ip" in server.address)) throw new TypeError("a port was asked for");
  return server.address;
}

async function probe(
  server: { ip: string; port: number; expectedHostname?: string },
  timeoutMs = 20_000,
): Promise<TlsProbe> {
  return await probeTls(server, { tls: ours, timeoutMs });
}

describe("probeTls", () => {
  it("trusts a server of our authority that carries the hostname meant", async () => {
    const node = await authority.issue({ dnsNames: ["d7y", "them"] });
    const address = await serve(node);
    expect(await probe({ ...address, expectedHostname: "them" })).toEqual({ kind: "trusted" });
    expect(await probe({ ...address, expectedHostname: "others" })).toMatchObject({
      kind: "untrusted",
      error: expect.objectContaining({ message: expect.stringContaining("expected others") }),
    });
  });

  it("takes a certificate of another authority for TLS all the same", async () => {
    const stranger = await createTestAuthority();
    expect(await probe(await serve(await stranger.issue()))).toMatchObject({ kind: "untrusted" });
  });

  it("takes an alert for TLS", async () => {
    const node = await authority.issue();
    // No version in common: the server says so in an alert.
    const server = createTlsServer({
      cert: node.cert,
      key: node.key,
      maxVersion: "TLSv1.1",
      minVersion: "TLSv1.1",
      ciphers: "DEFAULT@SECLEVEL=0",
    });
    server.on("tlsClientError", () => {});
    expect(await probe(await listen(server))).toMatchObject({ kind: "untrusted" });
  });

  it("knows a plain HTTP/2 server by its settings", async () => {
    expect(await probe(await serve())).toEqual({ kind: "plain" });
  });

  it("takes whoever hangs up for plain", async () => {
    const ending = createServer((socket) => socket.once("data", () => socket.end()));
    const resetting = createServer((socket) => socket.once("data", () => socket.resetAndDestroy()));
    expect(await probe(await listen(ending))).toEqual({ kind: "plain" });
    expect(await probe(await listen(resetting))).toEqual({ kind: "plain" });
  });

  it("says nothing of one who says nothing", async () => {
    const address = await listen(createServer((socket) => socket.resume()));
    expect(await probe(address, 50)).toMatchObject({ kind: "unknown" });
  });

  it("says nothing of one who is not there", async () => {
    const server = createServer();
    const address = await listen(server);
    server.close();
    await once(server, "close");
    opened.length = 0;
    expect(await probe(address)).toMatchObject({ kind: "unknown" });
  });
});
