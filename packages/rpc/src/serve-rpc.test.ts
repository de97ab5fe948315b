import { once, setMaxListeners } from "node:events";
import { readdirSync, statSync } from "node:fs";
import { chmod, mkdtemp, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import {
  createDfdaemonDownloadClient,
  createHealthClient,
  createSchedulerClient,
} from "./clients.ts";
import type { RpcClientOptions } from "./client.ts";
import {
  implementService,
  type CallContext,
  type ImplementedService,
} from "./implement-service.ts";
import { ServeError } from "./serve-error.ts";
import { serveRpc, type RpcServer, type ServeRpcOptions } from "./serve-rpc.ts";
import { createTestAuthority } from "./testing.ts";

const disposables: AsyncDisposable[] = [];

afterEach(async () => {
  for (const each of disposables.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

const anywhere = { ip: "127.0.0.1", port: 0 };

async function serve(options: Partial<ServeRpcOptions> = {}): Promise<RpcServer> {
  const server = await serveRpc({ address: anywhere, services: [], graceMs: 1_000, ...options });
  disposables.push(server);
  return server;
}

/** Answers with whether `server` serves this caller, as the health service says. */
async function check(
  server: RpcServer,
  options?: RpcClientOptions,
  service = "",
): Promise<unknown> {
  const client = createHealthClient(server.address, options);
  try {
    return (await client.check({ service }, { timeoutMs: 5_000 })).status;
  } finally {
    await client[Symbol.asyncDispose]();
  }
}

describe("the health service", () => {
  it("says SERVING for the server and for each of its services, and knows no others", async () => {
    const services = [implementService("scheduler.v2.Scheduler", {})];
    const server = await serve({ services });
    expect(await check(server)).toBe("SERVING");
    expect(await check(server, {}, "scheduler.v2.Scheduler")).toBe("SERVING");
    const unknown = check(server, {}, "manager.v2.Manager");
    expect(await errorOf(unknown)).toMatchObject({ code: "NOT_FOUND" });
  });

  it("tells watchers when the server closes", async () => {
    const server = await serve();
    const client = createHealthClient(server.address);
    disposables.push(client);
    const states: string[] = [];
    for await (const { status } of client.watch({ service: "" })) {
      states.push(status);
      if (status === "SERVING") void server[Symbol.asyncDispose]();
    }
    expect(states).toEqual(["SERVING", "NOT_SERVING"]);
  });

  it("has a bounded count of watchers, and warns of none of them", async () => {
    const server = await serve();
    const warnings: Error[] = [];
    const onWarning = (warning: Error): void => void warnings.push(warning);
    process.on("warning", onWarning);
    const client = createHealthClient(server.address);
    disposables.push(client);
    const leave = new AbortController();
    setMaxListeners(0, leave.signal);
    const watch = async (): Promise<void> => {
      const watching = client.watch({}, { signal: leave.signal })[Symbol.asyncIterator]();
      await watching.next();
      watching.next().catch(() => undefined);
    };
    for (let round = 0; round < 10; round += 1) {
      await Promise.all(Array.from({ length: 100 }, watch));
    }
    await using other = createHealthClient(server.address);
    const first = (): Promise<unknown> => {
      const watching = other.watch({})[Symbol.asyncIterator]();
      return watching.next();
    };
    expect(await errorOf(first())).toMatchObject({ reason: "1000 watch already" });
    leave.abort();
    await expect
      .poll(() => first().catch(() => undefined))
      .toMatchObject({ value: { status: "SERVING" } });
    process.off("warning", onWarning);
    expect(warnings).toEqual([]);
  });

  it("lets watchers of a service it does not know wait", async () => {
    const server = await serve();
    const client = createHealthClient(server.address);
    disposables.push(client);
    for await (const { status } of client.watch({ service: "nobody" })) {
      expect(status).toBe("SERVICE_UNKNOWN");
      break;
    }
  });
});

describe("a unix socket", () => {
  it("is made with its directory and its mode, and is gone when the server is", async () => {
    await withDirectory(async (directory) => {
      const socketPath = join(directory, "run", "deep", "d.sock");
      const services = [
        implementService("dfdaemon.v2.DfdaemonDownload", {
          listLocalTasks: async () => ({ tasks: [{ taskId: "t" }] }),
        }),
      ];
      const server = await serve({ address: { socketPath, mode: 0o660 }, services });
      expect(server.address).toMatchObject({ socketPath });
      expect((await stat(socketPath)).mode & 0o777).toBe(0o660);
      const client = createDfdaemonDownloadClient({ socketPath });
      expect((await client.listLocalTasks({})).tasks).toMatchObject([{ taskId: "t" }]);
      await client[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
      expect(await readdir(join(directory, "run", "deep"))).toEqual([]);
    });
  });

  it("takes the place of one that a dead process left behind", async () => {
    await withDirectory(async (directory) => {
      const socketPath = join(directory, "d.sock");
      await leaveStaleSocket(socketPath);
      const server = await serve({ address: { socketPath, mode: 0o600 } });
      expect(await check(server)).toBe("SERVING");
    });
  });

  it("is refused where another process serves, which keeps its socket", async () => {
    await withDirectory(async (directory) => {
      const address = { socketPath: join(directory, "d.sock"), mode: 0o600 };
      const first = await serve({ address });
      const error = await errorOf(serve({ address }));
      expect(error).toBeInstanceOf(ServeError);
      expect(error).toMatchObject({
        code: "ERR_ADDRESS_IN_USE",
        message: `Cannot serve at ${address.socketPath}: another process is serving there`,
      });
      expect(await check(first)).toBe("SERVING");
    });
  });

  it("is at no time there for others than those it is meant for", async () => {
    await withDirectory(async (directory) => {
      const seen = new Set<string>();
      // Between any two of its steps there is a turn of the event loop.
      const look = (): void => {
        for (const name of readdirSync(directory)) {
          const found = statSync(join(directory, name), { throwIfNoEntry: false });
          if (found === undefined) continue;
          const kind = found.isSocket() ? "socket" : "directory";
          seen.add(`${kind} ${(found.mode & 0o777).toString(8)}`);
        }
        looking = setImmediate(look);
      };
      let looking = setImmediate(look);
      const address = { socketPath: join(directory, "d.sock"), mode: 0o600 };
      for (let round = 0; round < 3; round += 1) {
        const server = await serve({ address });
        await server[Symbol.asyncDispose]();
      }
      clearImmediate(looking);
      // The directory that it is made in, and itself.
      expect([...seen].toSorted()).toEqual(["directory 700", "socket 600"]);
    });
  });

  it("leaves the socket of a successor alone when it closes", async () => {
    await withDirectory(async (directory) => {
      const socketPath = join(directory, "d.sock");
      const first = await serve({ address: { socketPath, mode: 0o600 } });
      await rm(socketPath);
      const second = await serve({ address: { socketPath, mode: 0o600 } });
      await first[Symbol.asyncDispose]();
      expect(await check(second)).toBe("SERVING");
    });
  });

  it("is given to a user and a group, or says that it cannot be", async () => {
    await withDirectory(async (directory) => {
      const socketPath = join(directory, "d.sock");
      const owner = { uid: 4321, gid: 1234 };
      const serving = serve({ address: { socketPath, mode: 0o660, owner } });
      if (process.getuid?.() === 0) {
        await serving;
        expect(await stat(socketPath)).toMatchObject({ uid: 4321, gid: 1234 });
        expect((await stat(socketPath)).mode & 0o777).toBe(0o660);
      } else {
        expect(await errorOf(serving)).toMatchObject({
          code: "ERR_OWNER",
          message: expect.stringMatching(/may not give the socket to user 4321 and group 1234 \(/),
        });
        expect(await readdir(directory)).toEqual([]);
      }
    });
  });

  it("warns where everybody may put another one in its place, but not where that is forbidden", async () => {
    await withDirectory(async (directory) => {
      const warnings: string[] = [];
      const logger = { error: () => {}, warn: (_: object, text: string) => warnings.push(text) };
      for (const mode of [0o777, 0o1777, 0o755]) {
        await chmod(directory, mode);
        const address = { socketPath: join(directory, "d.sock"), mode: 0o600 };
        const server = await serve({ address, logger });
        await server[Symbol.asyncDispose]();
      }
      expect(warnings).toEqual([expect.stringContaining("its mode is 0777, 0755 would do")]);
    });
  });

  it("says that its path is too long, as the system would not", async () => {
    await withDirectory(async (directory) => {
      const socketPath = join(directory, "x".repeat(200), "d.sock");
      const error = await errorOf(serve({ address: { socketPath, mode: 0o600 } }));
      expect(error).toMatchObject({
        code: "ERR_LISTEN_FAILED",
        message: expect.stringMatching(/this one is \d+ bytes too long$/),
      });
      expect(await readdir(directory)).toEqual([]);
    });
  });

  it("never takes the place of a file", async () => {
    await withDirectory(async (directory) => {
      const socketPath = join(directory, "precious");
      await writeFile(socketPath, "data");
      const error = await errorOf(serve({ address: { socketPath, mode: 0o600 } }));
      expect(error).toMatchObject({ code: "ERR_LISTEN_FAILED" });
      expect((await stat(socketPath)).size).toBe(4);
    });
  });
});

describe("a TCP server", () => {
  it("says that its port is taken", async () => {
    const { address } = await serve();
    if (!("port" in address)) throw new TypeError("A port is wanted");
    const error = await errorOf(serve({ address }));
    expect(error).toMatchObject({
      code: "ERR_ADDRESS_IN_USE",
      message: `Cannot serve at ${address.ip}:${address.port}: another process is serving there`,
    });
  });

  it("says what else is wrong with an address", async () => {
    const error = await errorOf(serve({ address: { ip: "192.0.2.1", port: 0 } }));
    expect(error).toMatchObject({ code: "ERR_LISTEN_FAILED" });
  });

  it("shrugs off callers that speak something else", async () => {
    const server = await serve();
    if (!("port" in server.address)) throw new TypeError("A port is wanted");
    const socket = connect(server.address.port, server.address.ip);
    socket.on("error", () => {});
    socket.end("GET / HTTP/1.0\r\n\r\n");
    await once(socket.resume(), "close");
    expect(await check(server)).toBe("SERVING");
  });
});

describe("closing", () => {
  it("lets running calls finish and takes no more", async () => {
    const entered = createGate();
    const held = createGate();
    const server = await serve({ services: [slowScheduler(entered.open, () => held.opened)] });
    const client = createSchedulerClient(server.address);
    disposables.push(client);
    const running = client.listHosts({});
    await entered.opened;
    const closing = server[Symbol.asyncDispose]();
    expect(await errorOf(check(server))).toMatchObject({ code: "UNAVAILABLE" });
    held.open();
    expect(await running).toEqual({ hosts: [] });
    await closing;
    await server[Symbol.asyncDispose]();
  });

  it("cuts what is left when its grace is over", async () => {
    const entered = createGate();
    const services = [slowScheduler(entered.open, ({ signal }) => once(signal, "abort"))];
    const server = await serve({ services, graceMs: 50 });
    const client = createSchedulerClient(server.address);
    disposables.push(client);
    const failed = errorOf(client.listHosts({}));
    await entered.opened;
    await server[Symbol.asyncDispose]();
    expect(["CANCELLED", "UNAVAILABLE"]).toContain(codeOf(await failed));
  });

  it("tells streams without an end of their own", async () => {
    const entered = createGate();
    const services = [slowScheduler(entered.open, ({ closing }) => once(closing, "abort"))];
    const server = await serve({ services, graceMs: 60_000 });
    const client = createSchedulerClient(server.address);
    disposables.push(client);
    const running = client.listHosts({});
    await entered.opened;
    await server[Symbol.asyncDispose]();
    expect(await running).toEqual({ hosts: [] });
  });

  it("does not wait for connections that have said nothing", async () => {
    const server = await serve({ graceMs: 50 });
    if (!("port" in server.address)) throw new TypeError("A port is wanted");
    const socket = connect(server.address.port, server.address.ip);
    socket.on("error", () => {});
    await once(socket, "connect");
    const socketClosed = once(socket.resume(), "close");
    await server[Symbol.asyncDispose]();
    await socketClosed;
  });

  it("breaks every connection on abort", async () => {
    const entered = createGate();
    const services = [slowScheduler(entered.open, ({ signal }) => once(signal, "abort"))];
    const server = await serve({ services, graceMs: 60_000 });
    const client = createSchedulerClient(server.address);
    disposables.push(client);
    const failed = errorOf(client.listHosts({}));
    await entered.opened;
    await server.abort();
    expect(["CANCELLED", "UNAVAILABLE"]).toContain(codeOf(await failed));
  });
});

describe("mutual TLS", async () => {
  const authority = await createTestAuthority();
  const node = await authority.issue();
  const stranger = await (await createTestAuthority()).issue();

  it("lets nodes of one authority talk, and shows the caller's certificate to the handler", async () => {
    const names = { dnsNames: ["d7y", "node-7"] };
    let subjectAltName: string | undefined;
    const services = [
      implementService("scheduler.v2.Scheduler", {
        async listHosts(_, { peerCertificate }) {
          subjectAltName = peerCertificate?.subjectaltname;
          return {};
        },
      }),
    ];
    const server = await serve({ services, tls: node });
    const client = createSchedulerClient(server.address, { tls: await authority.issue(names) });
    disposables.push(client);
    await client.listHosts({});
    expect(subjectAltName).toBe("DNS:d7y, DNS:node-7, IP Address:127.0.0.1");
  });

  it.each([
    ["the name d7y alone", { dnsNames: ["d7y"], ips: [] }, undefined, true],
    ["the dialled IP alone", { dnsNames: [], ips: ["127.0.0.1"] }, undefined, true],
    ["neither", { dnsNames: ["other"], ips: ["10.0.0.1"] }, undefined, false],
    ["no name at all", { dnsNames: [], ips: [] }, undefined, false],
    ["the expected hostname", { dnsNames: ["node-7"], ips: [] }, "node-7", true],
    ["d7y where a hostname is expected", { dnsNames: ["d7y"] }, "node-7", false],
  ])("with a server that carries %s", async (_, names, expectedHostname, isTrusted) => {
    const server = await serve({ tls: await authority.issue(names) });
    const outcome = await check(server, { tls: node, expectedHostname }).catch(codeOf);
    expect(outcome).toBe(isTrusted ? "SERVING" : "UNAVAILABLE");
  });

  it("refuses a server of another authority", async () => {
    const server = await serve({ tls: stranger });
    expect(await errorOf(check(server, { tls: node }))).toMatchObject({ code: "UNAVAILABLE" });
  });

  it("refuses a caller of another authority, one without a certificate and a plain one", async () => {
    const server = await serve({ tls: node });
    const impostor = { ...stranger, caCert: authority.caCert };
    for (const options of [{ tls: impostor }, {}]) {
      expect(await errorOf(check(server, options))).toMatchObject({ code: "UNAVAILABLE" });
    }
    expect(await check(server, { tls: node })).toBe("SERVING");
  });
});

function slowScheduler(
  enter: () => void,
  wait: (context: CallContext) => Promise<unknown>,
): ImplementedService {
  return implementService("scheduler.v2.Scheduler", {
    async listHosts(_, context) {
      enter();
      await wait(context);
      return {};
    },
  });
}

async function withDirectory(test: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "rpc-"));
  try {
    await test(directory);
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** A socket file that nobody listens on: moved away from its server, which then has nothing to remove. */
async function leaveStaleSocket(path: string): Promise<void> {
  const server = createServer().listen(`${path}.live`);
  await once(server, "listening");
  await rename(`${path}.live`, path);
  server.close();
  await once(server, "close");
}

async function errorOf(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
  } catch (error) {
    return error;
  }
  throw new RangeError("Expected a failure");
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : error;
}

function createGate(): { opened: Promise<void>; open: () => void } {
  let open: (() => void) | undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open: () => open?.() };
}
