import { X509Certificate } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadQuinn, peerKeyOf } from "@damselfly/quinn";
import { loadQuiche } from "@damselfly/quic";
import type { StoredTask } from "@damselfly/storage";
import {
  type CertificateChain,
  type ParentAddress,
  type TlsIdentity,
  TlsStore,
} from "@damselfly/transport";
import { codeOf } from "@damselfly/transport/conformance";
import { createTestAuthority, type TestAuthority } from "@damselfly/transport/testing";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { configSchema } from "../config/config-schema.ts";
import { TrafficMeter } from "../host/traffic-meter.ts";
import { DEFAULT_CONTENT_LIMITS } from "./content-limits.ts";
import { SILENT_LOGGER } from "../logger.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { openHttpOrigin } from "../origins/http-origin.ts";
import type { DataPlane } from "./data-plane.ts";
import { openDataPlane } from "./open-data-plane.ts";
import {
  createFakeWorkerProcess,
  type FakeWorkerProcess,
} from "./processes/testing/fake-worker-process.ts";

/*
 * Identities that change while a data plane runs, wherever it runs: what is pushed into it here reaches every server and downloader.
 */

const TASK_ID = "c".repeat(64);
const PIECE_LENGTH = 4 * 2 ** 20;
const PIECE_COUNT = 12;
const LOOPBACK = "127.0.0.1";

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
const WAYS = (["tcp", "grpc", "quic", "quinn"] as const).filter(
  (way) => (way !== "quic" || hasQuiche) && (way !== "quinn" || hasQuinn),
);
type Way = (typeof WAYS)[number];

interface Node {
  readonly name: string;
  readonly tls: TlsStore;
  readonly dataPlane: DataPlane;
  readonly task: StoredTask;
  /** Of the processes that were started for it, the last one last. */
  readonly processes: readonly FakeWorkerProcess[];
}

let directory: string;
let authority: TestAuthority;
let opened: AsyncDisposable[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "damselfly-identities-"));
  authority = await createTestAuthority();
  opened = [];
});
afterEach(async () => {
  vi.restoreAllMocks();
  for (const resource of opened.toReversed()) await resource[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

const serialOf = ({ current }: TlsStore): string => new X509Certificate(current.cert).serialNumber;
const chainOf = ({ current }: TlsStore): CertificateChain => [
  new X509Certificate(current.cert).raw,
];
const issue = async (name: string, by = authority, validUntil?: Date): Promise<TlsIdentity> =>
  await by.issue({ dnsNames: ["d7y", name], ...(validUntil === undefined ? {} : { validUntil }) });

/**
 * @param workers processes; 0: this one does it all
 * @param options.onSpawn called when a process is started, before it is told anything
 */
async function openNode(
  workers: number,
  name: string,
  options: { readonly tls?: TlsStore; readonly onSpawn?: () => void } = {},
): Promise<Node> {
  const { tls = new TlsStore(await issue(name)), onSpawn } = options;
  const processes: FakeWorkerProcess[] = [];
  const quic = { port: 0, quinnPort: 0 };
  const server = { ip: LOOPBACK, tcpPort: 0, grpcPort: 0, quic };
  const config = configSchema.parse({
    host: { hostname: name, ip: LOOPBACK },
    storage: { dir: join(directory, name), server },
    dataPlane: { workers },
  });
  const origin = openHttpOrigin({ userAgent: "test" });
  opened.push(origin);
  const dataPlane = await openDataPlane(config, {
    identities: { server: tls, client: tls },
    policy: {
      bindIp: LOOPBACK,
      pieceBindIp: LOOPBACK,
      announceIp: LOOPBACK,
      tls,
      plainPeers: false,
      warnings: [],
    },
    meter: new TrafficMeter(),
    metrics: createMetrics({ version: "0", platform: "test" }),
    origin,
    limits: DEFAULT_CONTENT_LIMITS,
    originInit: {
      userAgent: "test",
      requestHeader: {},
      insecure: false,
    },
    spawn: () => {
      const process = createFakeWorkerProcess();
      processes.push(process);
      onSpawn?.();
      return process;
    },
    logger: SILENT_LOGGER,
  });
  opened.push(dataPlane);
  const task = await dataPlane.storage.createTask({
    taskId: TASK_ID,
    url: "http://origin.test/file",
    contentLength: PIECE_COUNT * PIECE_LENGTH,
    pieceLength: PIECE_LENGTH,
    contentVersion: "1",
    etag: '"1"',
    lastModified: "",
    responseHeader: {},
    credentialsDigest: "",
    createdAtMs: 1,
  });
  return { name, tls, dataPlane, task, processes };
}

async function openParent(workers: number, options?: Parameters<typeof openNode>[2]) {
  const parent = await openNode(workers, "parent", options);
  async function* content(): AsyncGenerator<Uint8Array> {
    yield Buffer.alloc(PIECE_LENGTH, "piece");
  }
  for (let number = 0; number < PIECE_COUNT; number += 1) {
    const draft = { number, trafficType: "BACK_TO_SOURCE" as const, parentId: "" };
    await parent.task.writePiece(draft, content());
  }
  return parent;
}

/** As the control channel tells them of each other. */
function introduce(child: Node, parent: Node, way: Way): ParentAddress {
  const { offers, quinn } = parent.dataPlane;
  const [port = 0] = offers.find(({ protocol }) => protocol === way)?.ports ?? [];
  const common = { hostId: `${LOOPBACK}-${parent.name}`, ip: LOOPBACK, hostname: parent.name };
  if (way === "tcp") return { ...common, ports: { tcp: port } };
  if (way === "grpc") return { ...common, ports: { grpc: port } };
  if (way === "quic") return { ...common, ports: { quic: [port] } };
  const childKey = child.dataPlane.quinn?.publicKey;
  const [quinnPort] = quinn?.ports ?? [];
  if (quinn === undefined || childKey === undefined || quinnPort === undefined)
    throw new Error("expected quinn at both");
  quinn.admit(childKey, chainOf(child.tls));
  const certificates = chainOf(parent.tls);
  return {
    ...common,
    ports: {},
    quinn: { port: quinnPort, key: peerKeyOf(quinn.publicKey), certificates },
  };
}

async function fetch(child: Node, parent: ParentAddress, pieceNumber: number): Promise<number> {
  const { dataPlane, task } = child;
  const signal = new AbortController().signal;
  const piece = await dataPlane.fetchPiece({ task, pieceNumber, parent, signal });
  return piece.length;
}

describe.each([
  ["this process", 0],
  ["a process of its own", 1],
  ["two processes", 2],
])("a data plane in %s", (_, workers) => {
  it.each(WAYS)("shows and trusts what it was told last, over %s", async (way) => {
    const [parent, child] = [await openParent(workers), await openNode(workers, "child")];
    expect(await fetch(child, introduce(child, parent, way), 0)).toBe(PIECE_LENGTH);
    // Of an authority of which neither has heard before.
    const next = await createTestAuthority();
    child.tls.update(await issue("child", next));
    // Of quinn's keys the control channel would not have told, under such certificates.
    if (way !== "quinn") {
      const failing = fetch(child, introduce(child, parent, way), 1);
      expect(await codeOf(failing)).toBe("ERR_PARENT_UNTRUSTED");
    }
    parent.tls.update(await issue("parent", next));
    await expect
      .poll(() => fetch(child, introduce(child, parent, way), 1), { timeout: 20_000 })
      .toBe(PIECE_LENGTH);
  });

  it.each(WAYS)("lets nobody in who has become revoked, over %s", async (way) => {
    const [parent, child] = [await openParent(workers), await openNode(workers, "child")];
    const address = introduce(child, parent, way);
    expect(await fetch(child, address, 0)).toBe(PIECE_LENGTH);
    parent.tls.update({ ...parent.tls.current, revoked: [serialOf(child.tls)] });
    for (let number = 1; number <= 3; number += 1)
      expect(await codeOf(fetch(child, address, number))).toMatch(/^ERR_PARENT_/);
    // Its next certificate is another one.
    child.tls.update(await issue("child"));
    await expect
      .poll(() => fetch(child, introduce(child, parent, way), 4), { timeout: 20_000 })
      .toBe(PIECE_LENGTH);
  });

  it.each(WAYS)("asks nobody who has become revoked, over %s", async (way) => {
    const [parent, child] = [await openParent(workers), await openNode(workers, "child")];
    const address = introduce(child, parent, way);
    expect(await fetch(child, address, 0)).toBe(PIECE_LENGTH);
    child.tls.update({ ...child.tls.current, revoked: [serialOf(parent.tls)] });
    // A connection may be found closed before it is told why it was.
    expect(await codeOf(fetch(child, address, 1))).toMatch(/^ERR_PARENT_/);
    expect(await codeOf(fetch(child, address, 2))).toBe("ERR_PARENT_UNTRUSTED");
  });
});

describe("a data plane in processes", () => {
  it.each(WAYS)(
    "tells one that takes another's place what has changed since, over %s",
    async (way) => {
      const [parent, child] = [await openParent(1), await openNode(1, "child")];
      const other = await openNode(1, "other");
      introduce(child, parent, way);
      introduce(other, parent, way);
      parent.tls.update({ ...parent.tls.current, revoked: [serialOf(child.tls)] });
      parent.processes[0]!.die("SIGKILL");
      await expect.poll(() => parent.processes.length).toBe(2);
      await expect.poll(() => parent.dataPlane.offers.length).toBeGreaterThan(1);
      expect(await fetch(other, introduce(other, parent, way), 0)).toBe(PIECE_LENGTH);
      expect(await codeOf(fetch(child, introduce(child, parent, way), 0))).toMatch(/^ERR_PARENT_/);
    },
  );

  it.each(WAYS)("tells one that does not serve yet, too, over %s", async (way) => {
    const tls = new TlsStore(await issue("parent"));
    const next = await createTestAuthority();
    const renewed = await issue("parent", next);
    // After it was told how to start, and before its servers are open.
    const onSpawn = (): void => queueMicrotask(() => tls.update(renewed));
    const parent = await openParent(1, { tls, onSpawn });
    expect(tls.current).toBe(renewed);
    const childTls = new TlsStore(await issue("child", next));
    const child = await openNode(1, "child", { tls: childTls });
    expect(await fetch(child, introduce(child, parent, way), 0)).toBe(PIECE_LENGTH);
  });

  it.runIf(hasQuinn)("takes keys for nobody's when their certificates have expired", async () => {
    const real = Date.now.bind(Date);
    let aheadMs = 0;
    vi.spyOn(Date, "now").mockImplementation(() => real() + aheadMs);
    const soon = new Date(Date.now() + 600_000);
    const childTls = new TlsStore(await issue("child", authority, soon));
    const [parent, child] = [await openParent(1), await openNode(1, "child", { tls: childTls })];
    const address = introduce(child, parent, "quinn");
    expect(await fetch(child, address, 0)).toBe(PIECE_LENGTH);
    aheadMs = 1_200_000;
    // With the next change at the latest; without one within half a minute.
    parent.tls.update({ ...parent.tls.current, revoked: ["5A"] });
    await expect
      .poll(() => codeOf(fetch(child, address, 1)), { timeout: 20_000 })
      .toMatch(/^ERR_PARENT_/);
  });
});
