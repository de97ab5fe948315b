import { once } from "node:events";
import { connect as connectNet, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { afterEach, describe, expect, it } from "vitest";
import type { RpcClientOptions } from "./client.ts";
import { createHealthClient } from "./clients.ts";
import { serveRpc, type RpcServer, type ServeRpcOptions } from "./serve-rpc.ts";
import { createTestAuthority } from "./testing.ts";

const disposables: AsyncDisposable[] = [];

afterEach(async () => {
  for (const each of disposables.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

/** A server on a free port, and what it has warned of. */
async function serve(
  options: Partial<ServeRpcOptions> = {},
): Promise<{ server: RpcServer; port: number; warnings: string[] }> {
  const warnings: string[] = [];
  const logger = {
    warn: (_: object, message: string) => void warnings.push(message),
    error: () => {},
  };
  const address = { ip: "127.0.0.1", port: 0 };
  const server = await serveRpc({ address, services: [], graceMs: 1_000, logger, ...options });
  disposables.push(server);
  if (!("port" in server.address)) throw new TypeError("A port is wanted");
  return { server, port: server.address.port, warnings };
}

async function check(server: RpcServer, options: RpcClientOptions): Promise<string> {
  const client = createHealthClient(server.address, options);
  try {
    return (await client.check({ service: "" }, { timeoutMs: 10_000 })).status;
  } catch (error) {
    return error instanceof Error && "code" in error ? String(error.code) : String(error);
  } finally {
    await client[Symbol.asyncDispose]();
  }
}

/** A connection that disappears with the test. */
async function dial(port: number, options: { allowHalfOpen?: boolean } = {}): Promise<Socket> {
  const socket = connectNet({ host: "127.0.0.1", port, ...options });
  socket.on("error", () => {});
  disposables.push({ [Symbol.asyncDispose]: async () => void socket.destroy() });
  await once(socket, "connect");
  return socket;
}

const VORTEX_REQUEST = Buffer.concat([Buffer.from([9, 0, 0, 0, 0, 68]), Buffer.alloc(68, "a")]);

describe("one port", async () => {
  const authority = await createTestAuthority();
  const node = await authority.issue();
  const stranger = await (await createTestAuthority()).issue();

  it("serves callers with and without TLS, where plain ones are welcome", async () => {
    const { server } = await serve({ tls: node, plain: true });
    expect(await check(server, { tls: node })).toBe("SERVING");
    expect(await check(server, {})).toBe("SERVING");
    expect(await check(server, { tls: { ...stranger, caCert: authority.caCert } })).toBe(
      "UNAVAILABLE",
    );
  });

  it("turns plain callers away where they are not, and says so once", async () => {
    const { server, warnings } = await serve({ tls: node });
    expect(await check(server, {})).toBe("UNAVAILABLE");
    expect(await check(server, {})).toBe("UNAVAILABLE");
    expect(await check(server, { tls: node })).toBe("SERVING");
    expect(warnings).toEqual([
      "Cannot serve a connection: it speaks without TLS, and this server serves TLS only (said once)",
    ]);
  });

  it("turns callers with TLS away where there is no certificate, at once", async () => {
    const { server, port, warnings } = await serve();
    const socket = connectTls({ host: "127.0.0.1", port, rejectUnauthorized: false });
    await expect(once(socket, "secureConnect")).rejects.toThrow("wrong version number");
    expect(warnings).toEqual([
      "Cannot serve a connection: it wants TLS, and this server has no certificate (said once)",
    ]);
    expect(await check(server, {})).toBe("SERVING");
  });

  it("counts the connections of both kinds together", async () => {
    const limits = { connectionCountMax: 1 };
    const { server } = await serve({ tls: node, plain: true, limits });
    const first = createHealthClient(server.address, { tls: node });
    disposables.push(first);
    await first.watch({ service: "" })[Symbol.asyncIterator]().next();
    expect(await check(server, {})).toBe("RESOURCE_EXHAUSTED");
  });

  it("hands over who asks for pieces, with every byte, and still hears what follows its end", async () => {
    const accepted: Socket[] = [];
    const { port } = await serve({ tls: node, foreign: { accept: (s) => void accepted.push(s) } });
    const child = await dial(port, { allowHalfOpen: true });
    // The six bytes that decide come one by one.
    for (const byte of VORTEX_REQUEST.subarray(0, 6)) {
      await new Promise((resolve) => child.write(Uint8Array.of(byte), resolve));
    }
    child.end(VORTEX_REQUEST.subarray(6));
    await expect.poll(() => accepted.length).toBe(1);
    const [socket] = accepted;
    const received: Uint8Array[] = [];
    for await (const chunk of socket!.iterator({ destroyOnReturn: false })) received.push(chunk);
    expect(Buffer.concat(received)).toEqual(VORTEX_REQUEST);
    // The child has said its last word; the answer comes all the same.
    socket!.end("answer");
    const answer: Uint8Array[] = [];
    for await (const chunk of child) answer.push(chunk);
    expect(Buffer.concat(answer).toString()).toBe("answer");
  });

  it("leaves connections that it handed over to whoever took them, also when it closes", async () => {
    const accepted: Socket[] = [];
    const { server, port } = await serve({ foreign: { accept: (s) => void accepted.push(s) } });
    const child = await dial(port);
    child.write(VORTEX_REQUEST);
    await expect.poll(() => accepted.length).toBe(1);
    await server[Symbol.asyncDispose]();
    accepted[0]!.end("still here");
    expect(String(await once(child, "data"))).toBe("still here");
  });

  it("closes who asks for pieces where nobody takes them", async () => {
    const { port, warnings } = await serve();
    const child = await dial(port);
    child.write(VORTEX_REQUEST);
    await once(child.resume(), "close");
    expect(warnings).toEqual([expect.stringContaining("it asks for a piece without TLS")]);
  });

  it.each([
    ["says nothing", ""],
    ["says too little", "PR"],
  ])("closes who %s", async (_, words) => {
    const { server, port } = await serve({ limits: { halfOpenMs: 1_000 } });
    const silent = await dial(port);
    silent.write(words);
    await once(silent.resume(), "close");
    expect(await check(server, {})).toBe("SERVING");
  });

  it.each([
    ["leaves without a word", ""],
    ["leaves after too few", "P"],
    ["says something else", "GET / HTTP/1.1\r\n\r\n"],
  ])("forgets who %s", async (_, words) => {
    const { server, port, warnings } = await serve({ limits: { halfOpenMs: 60_000 } });
    const caller = await dial(port, { allowHalfOpen: true });
    caller.end(words);
    await once(caller.resume(), "close");
    expect(await check(server, {})).toBe("SERVING");
    expect(warnings).toEqual([]);
  });

  it("ends the calls of a plain caller that was killed", async () => {
    const { server, port } = await serve({ tls: node, plain: true });
    const caller = await dial(port, { allowHalfOpen: true });
    caller.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u0004\0\0\0\0\0");
    caller.end();
    await once(caller.resume(), "close");
    expect(await check(server, {})).toBe("SERVING");
  });
});
