import { once } from "node:events";
import { connect } from "node:net";
import { createSchedulerClient } from "@damselfly/rpc";
import { encodePacket, Tag } from "@damselfly/vortex";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findFreePort } from "../packages/dfdaemon/src/testing/running-daemon.ts";
import { accepts } from "./support/accepts.ts";
import {
  LOOPBACK,
  sha256,
  sha256OfFile,
  useCluster,
  type RunningDaemon,
  type RunningScheduler,
} from "./support/daemon.ts";
import { eventually } from "./support/eventually.ts";
import { tasksOf } from "./support/frozen.ts";
import { untilAnnounced } from "./support/look.ts";
import { openOriginServer, seededContent, type OriginServer } from "./support/origin-server.ts";

const MIB = 2 ** 20;
const LENGTH = 96 * MIB;
const CONTENT = seededContent(LENGTH);
const SHA256 = sha256(CONTENT);

describe("a daemon that is told to stop", () => {
  const cluster = useCluster("test");
  let origin: OriginServer;
  let pathCount = 0;

  beforeAll(async () => {
    origin = await openOriginServer();
  });
  afterAll(async () => {
    await origin[Symbol.asyncDispose]();
  });

  interface Served {
    readonly scheduler: RunningScheduler;
    /** Has all of the file. */
    readonly seed: RunningDaemon;
    readonly path: string;
    readonly url: string;
    readonly taskId: string;
    readonly flags: readonly string[];
  }

  async function startSeed(pieceMib: number): Promise<Served> {
    const scheduler = await cluster.startScheduler();
    const common = { scheduler: scheduler.address, protocol: "auto" } as const;
    const seed = await cluster.startDaemon({ ...common, name: "seed", seed: true });
    await untilAnnounced(scheduler, [seed]);
    pathCount += 1;
    const path = `/file-${pathCount}`;
    origin.set(path, { content: CONTENT });
    const url = `${origin.url}${path}`;
    const flags = ["--piece-length", `${pieceMib}mib`];
    const { sha256: actual, taskId } = await cluster.fetch(url, { daemon: seed, flags });
    expect(actual).toBe(SHA256);
    return { scheduler, seed, path, url, taskId, flags };
  }

  async function hostIds(scheduler: RunningScheduler): Promise<string[]> {
    await using client = createSchedulerClient({ ip: LOOPBACK, port: scheduler.port });
    const { hosts } = await client.listHosts({});
    return hosts.map(({ id }) => id);
  }

  it.for([
    ["grpc", 32],
    ["tcp", 32],
    ["quic", 8],
    // It is asked for in four ranges, one after the other.
    ["quic", 32],
  ] as const)(
    "sends the piece that a child has a part of over %s (%i MiB) to its end, and the child gets the rest elsewhere",
    async ([protocol, pieceMib], context) => {
      const { scheduler, seed, path, url, flags } = await startSeed(pieceMib);
      if (protocol === "quic" && seed.log.some(({ msg }) => msg.startsWith("QUIC is off")))
        context.skip("QUIC is off: there is no native library for this platform");
      const statsPort = await findFreePort();
      const child = await cluster.startDaemon({
        name: "child",
        scheduler: scheduler.address,
        protocol,
        settings: {
          "stats.server.port": statsPort,
          // One piece at a time, which takes two seconds: a piece that is cut off cannot have been sent before.
          "download.concurrentPieceCount": 1,
          "download.bandwidthLimit": `${pieceMib / 2}MiB`,
        },
      });
      await untilAnnounced(scheduler, [seed, child]);
      const download = cluster.startDfget(url, { daemon: child, flags });
      await eventually("a part of a piece", async () => {
        const [task] = await tasksOf(statsPort);
        const pieces = task?.transfer?.pieces ?? [];
        return pieces.some(({ receivedLength }) => receivedLength > 0) ? true : undefined;
      });
      seed.child.kill("SIGTERM");
      expect(await seed.child.exited).toEqual({ code: 0, signal: null });
      expect(await hostIds(scheduler)).toEqual([child.hostId]);

      const { done, error } = await download.result;
      expect(error).toBeUndefined();
      expect(await sha256OfFile(download.output)).toBe(SHA256);
      const fromSeed = done?.fromParents[seed.hostId] ?? 0;
      const fromOrigin = done?.fromOrigin ?? 0;
      // Whole pieces from either: none was broken off and gone on with, or read again.
      expect(fromSeed % (pieceMib * MIB)).toBe(0);
      expect(fromSeed).toBeGreaterThan(0);
      expect(fromOrigin).toBeGreaterThan(0);
      expect(fromSeed + fromOrigin).toBe(LENGTH);
      expect(origin.bodyBytes(path)).toBe(LENGTH + fromOrigin);
    },
  );

  // Far below six minutes, after which a child that takes nothing is cut off anyhow.
  const timeout = 120_000;
  it(
    "takes nobody in, and waits for a child that takes nothing only for so long",
    { timeout },
    async () => {
      const { scheduler, seed, taskId } = await startSeed(32);
      const child = connect(seed.tcpPort, LOOPBACK);
      const cutOff = once(child, "close");
      child.on("error", () => {}); // it may be reset
      const request = { kind: "request", id: 1, tag: Tag.DownloadPiece, taskId } as const;
      child.write(encodePacket({ ...request, pieceNumber: 0 }));
      // Nothing more is read once there is something.
      await once(child, "readable");

      seed.child.kill("SIGTERM");
      for (const port of [seed.tcpPort, seed.uploadPort]) {
        await eventually("a port that is closed", async () =>
          (await accepts(port)) ? undefined : true,
        );
      }
      // It has not ended: there is still the child.
      expect(seed.child.exit).toBeUndefined();
      expect(child.destroyed).toBe(false);

      expect(await seed.child.exited).toEqual({ code: 0, signal: null });
      child.resume();
      await cutOff;
      expect(child.bytesRead).toBeLessThan(32 * MIB);
      expect(await hostIds(scheduler)).toEqual([]);
    },
  );
});
