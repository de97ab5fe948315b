import { once } from "node:events";
import { connect as connectNet, createServer, type Server, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createTestAuthority } from "../testing.ts";
import { TlsAcceptor } from "./tls-acceptor.ts";
import type { TlsIdentity } from "./tls-identity.ts";
import { TlsStore } from "./tls-source.ts";

const ALPN = "test";
const [authority, other] = await Promise.all([createTestAuthority(), createTestAuthority()]);
const [ours, caller] = await Promise.all([authority.issue(), authority.issue()]);

const toContext = ({ cert, key, caCert }: TlsIdentity) => ({ cert, key, ca: caCert });

let store: TlsStore;
let acceptor: TlsAcceptor;
let server: Server;
let warnings: unknown[];
let secureCount: number;
let sockets: Socket[];

beforeEach(async () => {
  store = new TlsStore(ours);
  [warnings, secureCount, sockets] = [[], 0, []];
  const warn = (fields: object, text?: string): void => void warnings.push({ ...fields, text });
  acceptor = new TlsAcceptor({
    tls: store,
    toContext,
    alpn: ALPN,
    handshakeMs: 10_000,
    onSecure: (socket) => {
      secureCount += 1;
      socket.write("welcome");
    },
    logger: { warn },
  });
  server = createServer((socket) => {
    sockets.push(socket);
    acceptor.accept(socket);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  server.close();
  acceptor[Symbol.dispose]();
});

/** A connection that the acceptor has taken over, and on which nothing was said yet. */
async function begin(): Promise<Socket> {
  const address = server.address();
  if (address === null || typeof address === "string") throw new TypeError("A port is wanted");
  const accepted = once(server, "connection");
  const socket = connectNet(address.port, "127.0.0.1");
  sockets.push(socket);
  await Promise.all([once(socket, "connect"), accepted]);
  return socket;
}

function finish(socket: Socket, session?: Buffer): TLSSocket {
  const options = { ...toContext(caller), servername: "d7y", ALPNProtocols: [ALPN] };
  const secured = connectTls({ ...options, socket, ...(session && { session }) });
  secured.on("error", () => {}); // being cut off is one of the outcomes
  return secured.resume();
}

/** What a caller may resume with, from a handshake in full. */
async function fetchTicket(): Promise<Buffer> {
  const socket = finish(await begin());
  const [[session]] = await Promise.all([once(socket, "session"), once(socket, "data")]);
  socket.destroy();
  return session;
}

/** Ends the handshake. @returns whether it was a resumption, and whether the caller is in */
async function resume(
  begun: Socket,
  session: Buffer,
): Promise<{ isReused: boolean; isIn: boolean }> {
  const socket = finish(begun, session);
  await once(socket, "secureConnect");
  const isReused = socket.isSessionReused();
  const isIn = await Promise.race([
    once(socket, "data").then(() => true),
    once(socket, "close").then(() => false),
  ]);
  socket.destroy();
  return { isReused, isIn };
}

describe("TlsAcceptor", () => {
  it("lets in who resumes a session", async () => {
    const ticket = await fetchTicket();
    expect(await resume(await begin(), ticket)).toEqual({ isReused: true, isIn: true });
    expect(secureCount).toBe(2);
  });

  it.each<[string, Partial<TlsIdentity>]>([
    ["another authority", { caCert: other.caCert }],
    ["another list of the revoked", { revoked: ["0A"] }],
  ])("does not let in whose resumption began before the change to %s", async (_, change) => {
    const ticket = await fetchTicket();
    const begun = await begin();
    store.update({ ...ours, ...change });
    expect(await resume(begun, ticket)).toEqual({ isReused: true, isIn: false });
    expect(secureCount).toBe(1);
    const text: unknown = expect.stringMatching(/^A peer is refused: .* before a change of cert/);
    expect(warnings).toContainEqual(expect.objectContaining({ text }));
  });

  it("lets in whose handshake in full began before a change that leaves it trusted", async () => {
    const begun = await begin();
    store.update({ ...ours, revoked: ["0A"] });
    const socket = finish(begun);
    await once(socket, "data");
    expect(secureCount).toBe(1);
  });

  it("takes no ticket from before a change", async () => {
    const ticket = await fetchTicket();
    store.update({ ...ours, revoked: ["0A"] });
    expect(await resume(await begin(), ticket)).toEqual({ isReused: false, isIn: true });
  });
});
