import { createHash, randomBytes } from "node:crypto";
import { open, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { PieceSource } from "@damselfly/transport";
import * as fc from "fast-check";
import { StorageError, type Lack, type Storage } from "@damselfly/storage";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { OriginError, type OriginAnswer } from "../origins/origin-error.ts";
import {
  contentOf,
  DEFAULT_REQUEST,
  openFakeCluster,
  PIECE_LENGTH,
  TASK_ID,
  type FakeCluster,
  type Script,
} from "../testing/fake-cluster.ts";
import { parseByteRange } from "./byte-range.ts";
import { openGate } from "../testing/open-gate.ts";

const LENGTH = 20 * PIECE_LENGTH + 123;
const toOrigin: Script = (session) => session.say({ kind: "origin", reason: "test" });

describe("TaskManager", () => {
  let cluster: FakeCluster;
  beforeEach(async () => {
    cluster = await openFakeCluster(LENGTH);
  });
  afterEach(async () => {
    await cluster[Symbol.asyncDispose]();
  });

  /** A scheduler that sends a peer to these nodes. */
  const toParents =
    (...names: string[]): Script =>
    (session) =>
      session.say({
        kind: "parents",
        parents: names.map((name) => cluster.nodes.get(name)!.candidate),
      });

  describe("with the origin alone", () => {
    it("fetches by ranges and says what is coming first", async () => {
      const node = await cluster.addNode("a");
      const events = await node.download();
      expect(events[0]).toMatchObject({ kind: "started", finished: false, range: undefined });
      const numbers = events.flatMap((event) =>
        event.kind === "piece" ? [event.piece.number] : [],
      );
      expect(numbers.toSorted((a, b) => a - b)).toEqual(
        Array.from({ length: 21 }, (_, index) => index),
      );
      expect(sha256(await contentOf(node))).toBe(sha256(cluster.origin.content));
      expect(cluster.origin.servedLength).toBe(LENGTH);
    });

    it("reads an origin without ranges once, from start to end", async () => {
      cluster.origin.rangeable = false;
      const node = await cluster.addNode("a");
      await node.download();
      expect(sha256(await contentOf(node))).toBe(sha256(cluster.origin.content));
      expect(cluster.origin.readCount).toBe(1);
    });

    it("turns to one long read when ranges were promised and are not kept", async () => {
      const node = await cluster.addNode("a");
      cluster.origin.beforeStat = () => {};
      cluster.origin.beforeRead = () => {
        cluster.origin.rangeable = false;
      };
      await node.download();
      expect(sha256(await contentOf(node))).toBe(sha256(cluster.origin.content));
    });

    it("spools an origin that does not say its length", async () => {
      cluster.origin.lengthKnown = false;
      const node = await cluster.addNode("a");
      const [started] = await node.download();
      expect(started).toMatchObject({ kind: "started", finished: true });
      expect(sha256(await contentOf(node))).toBe(sha256(cluster.origin.content));
    });

    it("begins again when a body that cannot be resumed breaks off", async () => {
      cluster.origin.lengthKnown = false;
      let faults = 1;
      cluster.origin.beforeRead = () => {
        faults -= 1;
        if (faults >= 0) throw new OriginError("ERR_ORIGIN_TRUNCATED", "Cannot read: cut");
      };
      const node = await cluster.addNode("a");
      await node.download();
      expect(sha256(await contentOf(node))).toBe(sha256(cluster.origin.content));
    });

    it("fetches only the pieces of a range, and the rest later", async () => {
      const node = await cluster.addNode("a");
      await node.download({ range: () => ({ offset: PIECE_LENGTH + 5, length: PIECE_LENGTH }) });
      expect(cluster.origin.servedLength).toBe(2 * PIECE_LENGTH);
      await node.download();
      expect(cluster.origin.servedLength).toBe(LENGTH);
      expect(sha256(await contentOf(node))).toBe(sha256(cluster.origin.content));
    });

    it("downloads an empty file", async () => {
      cluster.origin.content = Buffer.alloc(0);
      const node = await cluster.addNode("a");
      const path = join(node.directory, "out");
      const events = await node.download({
        output: { path, overwrite: false, forceHardLink: false },
      });
      expect(events).toHaveLength(1);
      expect(await readFile(path)).toHaveLength(0);
    });

    it("tries a piece again whose transfer broke, but not for ever", async () => {
      const node = await cluster.addNode("a");
      let faults = 2;
      cluster.origin.beforeRead = ({ offset }) => {
        if (offset === 0 && faults > 0) {
          faults -= 1;
          throw new OriginError("ERR_ORIGIN_TRUNCATED", "Cannot read: cut");
        }
      };
      await node.download();
      expect(sha256(await contentOf(node))).toBe(sha256(cluster.origin.content));

      await node.storage.deleteTask(TASK_ID);
      faults = 1_000;
      await expect(node.download()).rejects.toMatchObject({ code: "ERR_ORIGIN_TRUNCATED" });
    });

    it("passes on what the origin says", async () => {
      const node = await cluster.addNode("a");
      cluster.origin.beforeStat = () => {
        throw new OriginError("ERR_ORIGIN_STATUS", "Cannot stat: 403", answer(403));
      };
      await expect(node.download()).rejects.toMatchObject({
        code: "ERR_ORIGIN_STATUS",
        statusCode: 403,
      });
    });

    it("starts anew when the origin changes midway, and never mixes", async () => {
      const node = await cluster.addNode("a", { limits: { backToSourceConcurrentPieceCount: 1 } });
      const changed = randomBytes(LENGTH + 1000);
      cluster.origin.beforeRead = ({ offset }) => {
        if (offset < 5 * PIECE_LENGTH || cluster.origin.etag === '"2"') return;
        cluster.origin.content = changed;
        cluster.origin.etag = '"2"';
      };
      const events = await node.download();
      expect(events.filter(({ kind }) => kind === "started")).toHaveLength(2);
      expect(sha256(await contentOf(node))).toBe(sha256(changed));
    });

    it("reads in one go what seems to change every time, and has it whole", async () => {
      const node = await cluster.addNode("a");
      let version = 1;
      cluster.origin.beforeRead = () => {
        version += 1;
        cluster.origin.etag = `"${version}"`;
      };
      const events = await node.download();
      expect(events.filter(({ kind }) => kind === "started")).toHaveLength(3);
      expect(sha256(await contentOf(node))).toBe(sha256(cluster.origin.content));
    });

    it("has a file whose servers disagree about its ETag, and not from parts of their answers", async () => {
      const node = await cluster.addNode("a");
      let count = 0;
      cluster.origin.beforeRead = () => {
        count += 1;
        cluster.origin.etag = count % 2 === 0 ? '"left"' : '"right"';
      };
      await node.download();
      expect(sha256(await contentOf(node))).toBe(sha256(cluster.origin.content));
    });

    it("gives up on a file that others change as often as it is put together", async () => {
      const node = await cluster.addNode("a");
      cluster.origin.beforeRead = async () => {
        await node.storage.deleteTask(TASK_ID);
      };
      await expect(node.download()).rejects.toMatchObject({ code: "ERR_ORIGIN_UNSTABLE" });
    });

    it("reads a file again that is to be current and says nothing of its version", async () => {
      cluster.origin.etag = "";
      cluster.origin.rangeable = false;
      const node = await cluster.addNode("a");
      await node.download();
      cluster.origin.content = randomBytes(LENGTH);
      await node.download({ revalidate: true });
      expect(sha256(await contentOf(node))).toBe(sha256(cluster.origin.content));
    });

    it("does not go on with parts of a file that were read in the second it was written", async () => {
      const { origin } = cluster;
      origin.etag = "";
      origin.lastModified = origin.date;
      origin.rangeable = false;
      const node = await cluster.addNode("a");
      origin.cutAt = LENGTH / 2;
      origin.onCut = () => {
        // Written once more in that second; a while later nobody can tell from the date.
        origin.content = randomBytes(LENGTH);
        origin.date = "Tue, 01 Oct 2024 10:01:00 GMT";
      };
      await node.download();
      expect(sha256(await contentOf(node))).toBe(sha256(origin.content));
    });
  });

  describe("for many at once", () => {
    it("downloads once for eight who ask, and gives each the whole file", async () => {
      const node = await cluster.addNode("a");
      const outputs = Array.from({ length: 8 }, (_, index) => join(node.directory, `out-${index}`));
      await Promise.all(
        outputs.map((path) =>
          node.download({ output: { path, overwrite: false, forceHardLink: false } }),
        ),
      );
      expect(cluster.origin.servedLength).toBe(LENGTH);
      expect(cluster.origin.statCount).toBe(1);
      for (const path of outputs)
        expect(sha256(await readFile(path))).toBe(sha256(cluster.origin.content));
    });

    it("serves what is on disk without asking anybody", async () => {
      const node = await cluster.addNode("a", { script: toOrigin });
      await node.download();
      cluster.origin.statCount = 0;
      const [started, ...pieces] = await node.download();
      expect(started).toMatchObject({ kind: "started", finished: true });
      expect(
        pieces.every((event) => event.kind === "piece" && event.piece.trafficType === "LOCAL_PEER"),
      ).toBe(true);
      expect(cluster.origin.statCount).toBe(0);
      expect(node.sessions).toHaveLength(1);
    });

    it("asks the origin again for a caller with other credentials, and refuses if the origin does", async () => {
      const node = await cluster.addNode("a");
      await node.download();
      cluster.origin.beforeStat = ({ header }) => {
        if (header["authorization"] === "Bearer wrong")
          throw new OriginError("ERR_ORIGIN_STATUS", "Cannot stat: 401", answer(401));
      };
      const asking = (authorization: string) => ({
        origin: { url: "http://origin.test/file", header: { authorization } },
      });
      await expect(node.download(asking("Bearer wrong"))).rejects.toMatchObject({
        statusCode: 401,
      });
      const [started] = await node.download(asking("Bearer right"));
      expect(started).toMatchObject({ finished: true });
      expect(cluster.origin.servedLength).toBe(LENGTH);
    });

    it.each([
      ["refused", new OriginError("ERR_ORIGIN_STATUS", "Cannot stat: 403", answer(403))],
      ["spared", new OriginError("ERR_ORIGIN_SUSPENDED", "Cannot stat: this file fails")],
    ])(
      "asks with a caller's own URL when that of another one, for whose answer he waited, is %s",
      async (_, error) => {
        const node = await cluster.addNode("a");
        const mayAnswer = openGate();
        cluster.origin.beforeStat = async ({ url }) => {
          if (!url.endsWith("old")) return;
          await mayAnswer.promise;
          throw error;
        };
        const asking = (signature: string) =>
          node.download({
            origin: { url: `http://origin.test/file?signature=${signature}`, header: {} },
            filteredQueryParams: ["signature"],
          });
        const refused = expect(asking("old")).rejects.toBe(error);
        await expect.poll(() => cluster.origin.statCount, { timeout: 20_000 }).toBe(1);
        const looking = vi.spyOn(node.storage, "openTask");
        const served = asking("new");
        // It waits for the answer to the first one from then on.
        await expect
          .poll(() => looking.mock.settledResults[0]?.type, { timeout: 20_000 })
          .toBe("fulfilled");
        mayAnswer.resolve();
        await refused;
        await served;
        expect(cluster.origin.statCount).toBe(2);
        expect(sha256(await contentOf(node))).toBe(sha256(cluster.origin.content));
      },
    );

    it.each([
      ["a part of it", { range: () => ({ offset: 0, length: PIECE_LENGTH }) }],
      ["all of it", {}],
    ])(
      "asks whether a file has grown when what is wanted lies beyond it, with %s here",
      async (_, before) => {
        const { origin } = cluster;
        const node = await cluster.addNode("a");
        await node.download(before);
        const beyond = (contentLength: number) =>
          parseByteRange(`bytes=${LENGTH + 5}-`, contentLength);
        await expect(node.download({ range: beyond })).rejects.toMatchObject({ code: "ERR_RANGE" });
        origin.content = randomBytes(2 * LENGTH);
        origin.etag = '"2"';
        const path = join(node.directory, "output");
        const output = { path, overwrite: false, forceHardLink: false };
        await node.download({ range: beyond, output });
        expect(sha256(await readFile(path))).toBe(sha256(origin.content.subarray(LENGTH + 5)));
      },
    );

    it("fetches anew what has changed when asked to revalidate", async () => {
      const node = await cluster.addNode("a");
      await node.download();
      cluster.origin.content = randomBytes(LENGTH);
      cluster.origin.etag = '"2"';
      const [cached] = await node.download();
      expect(cached).toMatchObject({ finished: true });
      await node.download({ revalidate: true });
      expect(sha256(await contentOf(node))).toBe(sha256(cluster.origin.content));
    });

    it("stops when the last one leaves, keeps the pieces, and goes on from them", async () => {
      const node = await cluster.addNode("a", { limits: { backToSourceConcurrentPieceCount: 1 } });
      const leave = new AbortController();
      cluster.origin.beforeRead = ({ offset }) => {
        if (offset >= 6 * PIECE_LENGTH) leave.abort(new Error("ctrl-c"));
      };
      await expect(node.download({}, leave.signal)).rejects.toThrow("ctrl-c");
      await node.manager.endOf(TASK_ID);
      cluster.origin.beforeRead = () => {};
      await node.download();
      expect(sha256(await contentOf(node))).toBe(sha256(cluster.origin.content));
      expect(cluster.origin.servedLength).toBeLessThan(LENGTH + 3 * PIECE_LENGTH);
    });

    it("goes on for the others when one leaves", async () => {
      const node = await cluster.addNode("a", { limits: { backToSourceConcurrentPieceCount: 1 } });
      const leave = new AbortController();
      cluster.origin.beforeRead = ({ offset }) => {
        if (offset >= 3 * PIECE_LENGTH) leave.abort(new Error("ctrl-c"));
      };
      const [left, stayed] = await Promise.allSettled([
        node.download({}, leave.signal),
        node.download(),
      ]);
      expect(left.status).toBe("rejected");
      expect(stayed.status).toBe("fulfilled");
      expect(cluster.origin.servedLength).toBe(LENGTH);
    });
  });

  describe("with parents", () => {
    it("fetches everything from a parent that has everything", async () => {
      const seed = await cluster.addNode("seed", { script: toOrigin });
      await seed.download();
      const child = await cluster.addNode("child", { script: toParents("seed") });
      await child.download();
      expect(sha256(await contentOf(child))).toBe(sha256(cluster.origin.content));
      expect(cluster.origin.servedLength).toBe(LENGTH);
      expect(child.sessions[0]!.reports).toEqual(["started from parents", "finished from parents"]);
      expect(new Set(child.sessions[0]!.pieces.map(([, from]) => from))).toEqual(
        new Set(["peer-seed"]),
      );
    });

    it("fetches pieces while the parent is still getting them", async () => {
      const seed = await cluster.addNode("seed", {
        script: toOrigin,
        limits: { backToSourceConcurrentPieceCount: 1 },
      });
      const child = await cluster.addNode("child", { script: toParents("seed") });
      let release: () => void = () => {};
      const held = new Promise<void>((resolve) => {
        release = resolve;
      });
      cluster.origin.beforeRead = async ({ offset }) => {
        if (offset === 10 * PIECE_LENGTH) await held;
      };
      const seeding = seed.download();
      await expect.poll(async () => (await seed.storage.openTask(TASK_ID))?.pieces.size).toBe(10);
      const fetching = child.download();
      await expect.poll(async () => (await child.storage.openTask(TASK_ID))?.pieces.size).toBe(10);
      release();
      await Promise.all([seeding, fetching]);
      expect(sha256(await contentOf(child))).toBe(sha256(cluster.origin.content));
      expect(cluster.origin.servedLength).toBe(LENGTH);
    });

    it("spreads a file over a mesh of ten with the origin read once", async () => {
      const names = Array.from({ length: 10 }, (_, index) => `n${index}`);
      // As a scheduler would: nobody is handed out who has not registered.
      const introduce = (): void => {
        const sessions = [...cluster.nodes.values()].flatMap((node) => node.sessions);
        if (sessions.length <= names.length) return;
        for (const name of names) {
          const others = names.filter((other) => other !== name);
          toParents("seed", ...others)(cluster.nodes.get(name)!.sessions[0]!);
        }
      };
      for (const name of names)
        await cluster.addNode(name, { script: () => setImmediate(introduce) });
      const seed = await cluster.addNode("seed", {
        script: (session) => {
          toOrigin(session);
          setImmediate(introduce);
        },
      });
      const peers = names.map((name) => cluster.nodes.get(name)!);
      await Promise.all([seed, ...peers].map((node) => node.download()));
      for (const node of peers)
        expect(sha256(await contentOf(node))).toBe(sha256(cluster.origin.content));
      expect(cluster.origin.servedLength).toBe(LENGTH);
    });

    const lying: [string, (source: PieceSource) => PieceSource][] = [
      ["sends wrong bytes", (source) => altered(source, (chunk) => Buffer.from(chunk).fill(0))],
      [
        "says another digest than the origin's reader",
        (source) => described(source, (piece) => ({ ...piece, digest: "crc32:1" })),
      ],
      [
        "says another length",
        (source) => described(source, (piece) => ({ ...piece, length: piece.length - 1 })),
      ],
      ["says no digest", (source) => described(source, (piece) => ({ ...piece, digest: "" }))],
      [
        "fails at every piece",
        () => ({
          openPiece: async () => {
            throw new Error("disk on fire");
          },
        }),
      ],
    ];
    it.each(lying)("gets the right file in spite of a parent that %s", async (_, corrupt) => {
      const liar = await cluster.addNode("liar", { script: toOrigin, corrupt });
      const honest = await cluster.addNode("honest", { script: toOrigin });
      await Promise.all([liar.download(), honest.download()]);
      const child = await cluster.addNode("child", { script: toParents("liar", "honest") });
      await child.download();
      expect(sha256(await contentOf(child))).toBe(sha256(cluster.origin.content));
      expect(child.sessions[0]!.pieces.every(([, from]) => from === "peer-honest")).toBe(true);
      expect(child.sessions[0]!.reports).toContain("piece - failed at peer-liar");
    });

    it("asks the scheduler when the last parent has gone, and the origin when it says so", async () => {
      const seed = await cluster.addNode("seed", {
        script: toOrigin,
        corrupt: (source) => limited(source, 5),
      });
      await seed.download();
      const child = await cluster.addNode("child", {
        script: (session) => {
          toParents("seed")(session);
          session.onReschedule = () => session.say({ kind: "origin", reason: "nobody else" });
        },
      });
      await child.download();
      expect(sha256(await contentOf(child))).toBe(sha256(cluster.origin.content));
      expect(child.sessions[0]!.reports).toContain("reschedule: no parent is left");
      expect(child.sessions[0]!.pieces.filter(([, from]) => from === "peer-seed")).toHaveLength(5);
    });

    it("does not pester a scheduler whose answers are of no use", async () => {
      const seed = await cluster.addNode("seed", {
        script: toOrigin,
        corrupt: (source) => limited(source, 0),
      });
      await seed.download();
      let count = 0;
      const child = await cluster.addNode("child", {
        script: (session) => {
          toParents("seed")(session);
          session.onReschedule = () => {
            count += 1;
            if (count < 3) toParents("seed")(session);
            else session.say({ kind: "origin", reason: "nobody else" });
          };
        },
      });
      const startMs = Date.now();
      await child.download();
      expect(sha256(await contentOf(child))).toBe(sha256(cluster.origin.content));
      expect(count).toBe(3);
      // 250 ms and 500 ms lie between the three questions on average, at least half of that, however fast they are answered.
      expect(Date.now() - startMs).toBeGreaterThan(350);
    });

    it("goes to the origin when the scheduler is lost and no parent is left", async () => {
      const child = await cluster.addNode("child", {
        script: (session) => session.end(new Error("connection lost")),
      });
      await child.download();
      expect(sha256(await contentOf(child))).toBe(sha256(cluster.origin.content));
    });

    it("goes on with its parents when the scheduler is lost", async () => {
      const seed = await cluster.addNode("seed", { script: toOrigin });
      await seed.download();
      const child = await cluster.addNode("child", {
        script: (session) => {
          toParents("seed")(session);
          setTimeout(() => session.end(new Error("connection lost")), 1);
        },
      });
      await child.download();
      expect(sha256(await contentOf(child))).toBe(sha256(cluster.origin.content));
      expect(cluster.origin.servedLength).toBe(LENGTH);
    });

    it("renews a lease at the origin while bytes come, and only a lease", async () => {
      const count = async (name: string, renewable: boolean): Promise<number> => {
        const node = await cluster.addNode(name, {
          script: (session) => session.say({ kind: "origin", reason: "test", renewable }),
          limits: { leaseRenewalMs: 0 },
        });
        await node.download();
        return node.sessions[0]!.reports.filter((report) => report === "started from origin")
          .length;
      };
      expect(await count("leased", true)).toBeGreaterThan(10);
      expect(await count("sent", false)).toBe(1);
    });

    it("gives up parents that bring nothing, and ends even if the scheduler knows no others", async () => {
      const seed = await cluster.addNode("seed", { script: toOrigin });
      let release: () => void = () => {};
      const held = new Promise<void>((resolve) => {
        release = resolve;
      });
      cluster.origin.beforeRead = () => held;
      const seeding = seed.download().catch(() => undefined);
      const child = await cluster.addNode("child", {
        script: (session) => {
          session.onReschedule = () => toParents("seed")(session);
          void expect
            .poll(() => seed.sessions.length)
            .toBe(1)
            .then(() => toParents("seed")(session));
        },
        limits: { idleMs: 50, askPauseMs: 5 },
      });
      const forbidden = { disableBackToSource: true };
      await expect(child.download(forbidden)).rejects.toMatchObject({ code: "ERR_NO_SOURCE" });
      expect(child.sessions[0]!.reports).toContain("piece - failed at peer-seed");
      release();
      await seeding;
    });

    it("serves a caller who wants more than the one before", async () => {
      const seed = await cluster.addNode("seed", {
        script: toOrigin,
        limits: { backToSourceConcurrentPieceCount: 1 },
      });
      let release: () => void = () => {};
      const held = new Promise<void>((resolve) => {
        release = resolve;
      });
      cluster.origin.beforeRead = async ({ offset }) => {
        if (offset === 2 * PIECE_LENGTH) await held;
      };
      const seeding = seed.download();
      await expect.poll(async () => (await seed.storage.openTask(TASK_ID))?.pieces.size).toBe(2);
      const child = await cluster.addNode("child", { script: toParents("seed") });
      const part = child.download({ range: () => ({ offset: 0, length: 5 * PIECE_LENGTH }) });
      await expect.poll(async () => (await child.storage.openTask(TASK_ID))?.pieces.size).toBe(2);
      const whole = child.download();
      release();
      await Promise.all([seeding, part, whole]);
      expect(sha256(await contentOf(child))).toBe(sha256(cluster.origin.content));
      expect(child.sessions).toHaveLength(1);
    });

    it("does not let one caller's ban on the origin fail another", async () => {
      const child = await cluster.addNode("child", { script: toOrigin });
      const [banned, free] = await Promise.allSettled([
        child.download({ disableBackToSource: true }),
        child.download(),
      ]);
      expect(banned.status).toBe("rejected");
      expect(free.status).toBe("fulfilled");
    });

    it("asks the origin when the digest proves that peers gave another file", async () => {
      const digest = `sha256:${createHash("sha256").update(cluster.origin.content).digest("hex")}`;
      const right = cluster.origin.content;
      cluster.origin.content = randomBytes(LENGTH);
      const seed = await cluster.addNode("seed", { script: toOrigin });
      await seed.download();
      cluster.origin.content = right;
      const child = await cluster.addNode("child", {
        script: (session) => {
          if (session.registration.needBackToSource) toOrigin(session);
          else toParents("seed")(session);
        },
      });
      await child.download({ digest });
      expect(sha256(await contentOf(child))).toBe(sha256(right));
    });

    const unchecked = { origin: { url: "http://origin.test/file", header: {}, insecure: true } };

    it("keeps what came from an unchecked origin apart", async () => {
      const node = await cluster.addNode("a");
      await node.download(unchecked);
      const version = async (): Promise<string | undefined> =>
        (await node.storage.openTask(TASK_ID))?.facts.contentVersion;
      expect(await version()).toMatch(/-unchecked$/);
      cluster.origin.servedLength = 0;
      await node.download();
      expect(cluster.origin.servedLength).toBe(LENGTH);
      expect(await version()).not.toMatch(/-unchecked$/);
      const [started] = await node.download(unchecked);
      expect(started).toMatchObject({ finished: true });
    });

    it("puts nothing from an unchecked origin into what a checked one has begun", async () => {
      const { origin } = cluster;
      const right = origin.content;
      const forged = randomBytes(LENGTH);
      let isBroken = true;
      // Somebody on the way says the same length and ETag to whoever does not look at his certificate.
      origin.beforeRead = ({ offset }, { insecure = false }) => {
        origin.content = insecure ? forged : right;
        if (!insecure && isBroken && offset >= 8 * PIECE_LENGTH)
          throw new OriginError("ERR_ORIGIN_STATUS", "Cannot read: 500", answer(500));
      };
      const limits = { backToSourceConcurrentPieceCount: 1 };
      const node = await cluster.addNode("a", { limits });
      await expect(node.download()).rejects.toMatchObject({ code: "ERR_ORIGIN_STATUS" });
      await node.download(unchecked);
      expect(sha256(await contentOf(node))).toBe(sha256(forged));
      isBroken = false;
      await node.download();
      expect(sha256(await contentOf(node))).toBe(sha256(right));
    });

    it("gives whoever wants no check a copy apart, when the one that he waited for cannot be checked any more", async () => {
      const { origin } = cluster;
      const right = origin.content;
      const forged = randomBytes(LENGTH);
      let isTaken = false;
      const takenOver = openGate();
      origin.beforeRead = async ({ offset }, { insecure = false }) => {
        if (!insecure && offset === 4 * PIECE_LENGTH) {
          isTaken = true;
          await takenOver.promise;
          throw new OriginError("ERR_ORIGIN_TLS", "Cannot read: not its certificate");
        }
        origin.content = insecure ? forged : right;
      };
      const limits = { backToSourceConcurrentPieceCount: 1 };
      const node = await cluster.addNode("a", { limits });
      const first = expect(node.download()).rejects.toMatchObject({ code: "ERR_ORIGIN_TLS" });
      await expect.poll(() => isTaken, { timeout: 20_000 }).toBe(true);
      const signal = new AbortController().signal;
      const request = { ...DEFAULT_REQUEST, ...unchecked };
      const second = node.manager.download(request, signal);
      const started = await second.next();
      expect(started.value).toMatchObject({ kind: "started" });
      const ended = (async () => {
        for await (const _ of second);
      })();
      takenOver.resolve();
      await first;
      await ended;
      expect(sha256(await contentOf(node))).toBe(sha256(forged));
      origin.beforeRead = () => {
        origin.content = right;
      };
      await node.download();
      expect(sha256(await contentOf(node))).toBe(sha256(right));
    });

    it("calls a copy unchecked that is read anew without a check, where nothing tells versions apart", async () => {
      cluster.origin.etag = "";
      const node = await cluster.addNode("a");
      await node.download();
      await node.download({ ...unchecked, revalidate: true });
      const task = await node.storage.openTask(TASK_ID);
      expect(task?.facts.contentVersion).toMatch(/-unchecked$/);
    });

    it("never goes on with a file that cannot be proven to be of one version", async () => {
      cluster.origin.etag = "";
      cluster.origin.rangeable = false;
      const node = await cluster.addNode("a");
      const changed = randomBytes(LENGTH);
      cluster.origin.cutAt = LENGTH / 2;
      cluster.origin.onCut = () => {
        cluster.origin.content = changed;
      };
      await node.download();
      expect(sha256(await contentOf(node))).toBe(sha256(changed));
    });

    it("refuses to ask the origin when the request forbids it", async () => {
      const child = await cluster.addNode("child", { script: toOrigin });
      await expect(child.download({ disableBackToSource: true })).rejects.toMatchObject({
        code: "ERR_NO_SOURCE",
      });
      expect(cluster.origin.servedLength).toBe(0);
    });

    it("waits no longer than its bound for a scheduler that says nothing", async () => {
      const child = await cluster.addNode("child", {
        script: () => {},
        limits: { schedulerAnswerMs: 100 },
      });
      await child.download();
      expect(sha256(await contentOf(child))).toBe(sha256(cluster.origin.content));
    });
  });

  it("fetches anew what a user's edit of a hard-linked output has spoilt, and leaves the edit alone", async () => {
    const node = await cluster.addNode("a");
    const first = { path: join(node.directory, "first"), overwrite: false, forceHardLink: false };
    await node.download({ output: first });
    const file = await open(first.path, "r+");
    await file.write(Buffer.from("edited"), 0, 6, 3 * PIECE_LENGTH);
    await file.close();
    const second = { ...first, path: join(node.directory, "second") };
    await node.download({ output: second });
    expect(sha256(await readFile(second.path))).toBe(sha256(cluster.origin.content));
    const edited = await readFile(first.path);
    expect(edited.subarray(3 * PIECE_LENGTH, 3 * PIECE_LENGTH + 6).toString()).toBe("edited");
    expect(cluster.origin.servedLength).toBeLessThan(LENGTH + 2 * PIECE_LENGTH);
  });

  describe("across a restart", () => {
    it("fetches only what is missing", async () => {
      const before = await cluster.addNode("a", {
        limits: { backToSourceConcurrentPieceCount: 1 },
      });
      cluster.origin.beforeRead = ({ offset }) => {
        if (offset >= 8 * PIECE_LENGTH)
          throw new OriginError("ERR_ORIGIN_STATUS", "Cannot read: 500", answer(500));
      };
      await expect(before.download()).rejects.toMatchObject({ code: "ERR_ORIGIN_STATUS" });
      await before.close();
      cluster.origin.beforeRead = () => {};
      cluster.origin.servedLength = 0;
      const after = await cluster.addNode("b", { directory: before.directory, script: toOrigin });
      await after.download();
      expect(after.sessions[0]!.held).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
      expect(sha256(await contentOf(after))).toBe(sha256(cluster.origin.content));
      expect(cluster.origin.servedLength).toBe(LENGTH - 8 * PIECE_LENGTH);
    });
  });

  it("checks the digest of the whole and leaves no output when it is wrong", async () => {
    const node = await cluster.addNode("a");
    const output = { path: join(node.directory, "out"), overwrite: false, forceHardLink: false };
    await expect(
      node.download({ output, digest: `sha256:${"0".repeat(64)}` }),
    ).rejects.toMatchObject({ code: "ERR_DIGEST_MISMATCH" });
    expect(await readdir(node.directory)).not.toContain("out");
    const digest = `sha256:${createHash("sha256").update(cluster.origin.content).digest("hex")}`;
    await node.download({ output, digest });
    expect(sha256(await readFile(output.path))).toBe(sha256(cluster.origin.content));
  });

  it("takes no room for a file that somebody only asks about", async () => {
    const node = await cluster.addNode("a");
    const question = { ...DEFAULT_REQUEST, metadataOnly: true };
    for await (const event of node.manager.download(question, new AbortController().signal)) {
      expect(event).toMatchObject({ kind: "started", finished: false });
      expect((await node.storage.usage()).reservedBytes).toBe(0);
    }
    expect((await node.storage.openTask(TASK_ID))?.pieces.size).toBe(0);
    expect(cluster.origin.servedLength).toBe(0);
  });

  it("lets nobody evict what it is about to hand out", async () => {
    const node = await cluster.addNode("a");
    await node.download();
    const task = await node.storage.openTask(TASK_ID);
    await expect.poll(() => task!.sealed).toBe(true);
    const outcomes: string[] = [];
    vi.spyOn(task!, "assertOutput").mockImplementation(async () => {
      outcomes.push(await node.storage.evictTask(TASK_ID));
    });
    const output = { path: join(node.directory, "out"), overwrite: false, forceHardLink: false };
    await node.download({ output });
    expect(outcomes).toEqual(["busy"]);
    expect(cluster.origin.servedLength).toBe(LENGTH);
  });

  it("has what was here before read again for the digest that a user names, and not what he has just fetched", async () => {
    const node = await cluster.addNode("a");
    const digest = `sha256:${sha256(cluster.origin.content)}`;
    const beforeMs = performance.now();
    const asked: (number | undefined)[] = [];
    let watching: Promise<void> | undefined;
    const watch = async (): Promise<void> => {
      const task = await node.storage.openTask(TASK_ID);
      const digestOf = task!.digest.bind(task!);
      vi.spyOn(task!, "digest").mockImplementation(async (algorithm, options) => {
        asked.push(options?.sinceMs);
        return await digestOf(algorithm, options);
      });
    };
    cluster.origin.beforeRead = () => (watching ??= watch());
    await node.download({ digest });
    const fetchedMs = performance.now();
    await node.download({ digest });
    const [first, second] = asked;
    expect(first).toBeGreaterThanOrEqual(beforeMs);
    expect(first).toBeLessThan(fetchedMs);
    expect(second).toBeGreaterThanOrEqual(fetchedMs);
  });

  it("ends with the right file whatever parents come, fail and go in whatever order", async () => {
    const seed = await cluster.addNode("seed", { script: toOrigin });
    await seed.download();
    let round = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ pieces: fc.nat(8), wrong: fc.boolean() }), { maxLength: 4 }),
        async (parents) => {
          round += 1;
          const names: string[] = [];
          for (const [index, { pieces, wrong }] of parents.entries()) {
            const name = `p${round}-${index}`;
            const node = await cluster.addNode(name, {
              script: toParents("seed"),
              corrupt: (source) =>
                limited(
                  wrong ? altered(source, (chunk) => Buffer.from(chunk).fill(1)) : source,
                  pieces,
                ),
            });
            await node.download();
            names.push(name);
          }
          const child = await cluster.addNode(`c${round}`, {
            script: (session) => {
              toParents(...names)(session);
              session.onReschedule = () => session.say({ kind: "origin", reason: "nobody else" });
            },
          });
          await child.download();
          expect(sha256(await contentOf(child))).toBe(sha256(cluster.origin.content));
          const numbers = child.sessions[0]!.pieces.map(([number]) => number);
          expect(numbers.toSorted((a, b) => a - b)).toEqual(
            Array.from({ length: 21 }, (_, index) => index),
          );
        },
      ),
      { numRuns: 15 },
    );
  });

  describe("with verifyOnHit: full", () => {
    it("reads what is on disk before it is handed out, and fetches anew what is not good any more", async () => {
      const node = await cluster.addNode("a", { verifyOnHit: "full" });
      await node.download();
      const task = await node.storage.openTask(TASK_ID);
      const verify = vi.spyOn(task!, "verify");
      const served = cluster.origin.servedLength;
      await node.download();
      expect(verify).toHaveBeenCalledTimes(1);
      expect([...verify.mock.calls[0]![0]]).toHaveLength(21);
      expect(cluster.origin.servedLength).toBe(served);

      // As when the disk has flipped a bit: by that look the piece is withdrawn.
      verify.mockImplementationOnce(async () => {
        const [prefix, storageDirectory] = [TASK_ID.slice(0, 3), join(node.directory, "damselfly")];
        const file = await open(join(storageDirectory, "content", prefix, TASK_ID), "r+");
        await file.write(Buffer.from("rotten"), 0, 6, 5 * PIECE_LENGTH);
        await file.close();
        await node.storage.openTask(TASK_ID);
        return [5];
      });
      await node.download();
      expect(cluster.origin.servedLength).toBe(served + PIECE_LENGTH);
      expect(sha256(await contentOf(node))).toBe(sha256(cluster.origin.content));
    });

    it("does not read what a download under way has just brought", async () => {
      const node = await cluster.addNode("a", { verifyOnHit: "full" });
      const { storage } = node;
      let verifyCount = 0;
      cluster.origin.beforeRead = async () => {
        const task = await storage.openTask(TASK_ID);
        if (task !== undefined && verifyCount === 0) {
          verifyCount = 1;
          vi.spyOn(task, "verify").mockRejectedValue(new Error("nobody asked for it"));
        }
      };
      await Promise.all([node.download(), node.download(), node.download()]);
      expect(verifyCount).toBe(1);
    });

    it("is not the default", async () => {
      const node = await cluster.addNode("a");
      await node.download();
      const task = await node.storage.openTask(TASK_ID);
      const verify = vi.spyOn(task!, "verify");
      await node.download();
      expect(verify).not.toHaveBeenCalled();
    });
  });

  describe("on a disk that fills up", () => {
    const full = new StorageError(
      "ERR_NO_SPACE",
      "Cannot write piece 3: no space left on the disk",
    );

    async function failWriting(node: { storage: Storage }, count: number): Promise<void> {
      let left = count;
      const task = await node.storage.openTask(TASK_ID);
      const writePiece = task!.writePiece.bind(task!);
      vi.spyOn(task!, "writePiece").mockImplementation(async (...given) => {
        if (given[0].number !== 3 || left === 0) return await writePiece(...given);
        left -= 1;
        throw full;
      });
    }

    it("has others make way, once, and goes on", async () => {
      const lacks: Lack[] = [];
      const node = await cluster.addNode("a", {
        makeRoom: async (lack) => {
          lacks.push(lack);
          return true;
        },
      });
      cluster.origin.beforeStat = () => {};
      let failing: Promise<void> | undefined;
      cluster.origin.beforeRead = () => (failing ??= failWriting(node, 1));
      await node.download();
      expect(sha256(await contentOf(node))).toBe(sha256(cluster.origin.content));
      expect(lacks).toEqual([{ bytes: expect.any(Number), of: "disk" }]);
      expect(lacks[0]?.bytes).toBeGreaterThanOrEqual(PIECE_LENGTH);
    });

    it("is asked for the rest of a file also where its origin is down", async () => {
      const node = await cluster.addNode("a");
      await node.download({ range: () => ({ offset: 0, length: PIECE_LENGTH }) });
      cluster.origin.beforeStat = () => {
        throw new OriginError("ERR_ORIGIN_UNREACHABLE", "Cannot reach it");
      };
      vi.spyOn(node.storage, "createTask").mockRejectedValue(full);
      await expect(node.download()).rejects.toBe(full);
    });

    it("fails with what the disk says when nobody can, and when it did not help", async () => {
      let room = false;
      const node = await cluster.addNode("a", { makeRoom: async () => room });
      let failing: Promise<void> | undefined;
      cluster.origin.beforeRead = () => (failing ??= failWriting(node, 100));
      await expect(node.download()).rejects.toBe(full);
      room = true;
      await expect(node.download()).rejects.toBe(full);
    });
  });
});

function answer(statusCode: number): { readonly answer: OriginAnswer } {
  return { answer: { statusCode, reason: "", responseHeader: {} } };
}

/** Buffers of this length take seconds to compare with `toEqual`. */
function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Serves other bytes. */
function altered(source: PieceSource, alter: (chunk: Uint8Array) => Uint8Array): PieceSource {
  return {
    async openPiece(request, options) {
      const reader = await source.openPiece(request, options);
      async function* content(): AsyncGenerator<Uint8Array> {
        for await (const chunk of reader.content) yield alter(chunk);
      }
      return {
        piece: reader.piece,
        content: content(),
        [Symbol.asyncDispose]: () => reader[Symbol.asyncDispose](),
      };
    },
  };
}

/** Describes its pieces otherwise than they are. */
function described(
  source: PieceSource,
  describePiece: (
    piece: Awaited<ReturnType<PieceSource["openPiece"]>>["piece"],
  ) => Awaited<ReturnType<PieceSource["openPiece"]>>["piece"],
): PieceSource {
  return {
    async openPiece(request, options) {
      const reader = await source.openPiece(request, options);
      return {
        piece: describePiece(reader.piece),
        content: reader.content,
        [Symbol.asyncDispose]: () => reader[Symbol.asyncDispose](),
      };
    },
  };
}

/** Serves this many pieces and then fails. */
function limited(source: PieceSource, count: number): PieceSource {
  let left = count;
  return {
    async openPiece(request, options) {
      left -= 1;
      if (left < 0) throw new Error("had enough");
      return await source.openPiece(request, options);
    },
  };
}
