import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { PieceSource } from "@damselfly/transport";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { CandidateParent } from "../scheduling/scheduler-link.ts";
import { openFakeCluster, PIECE_LENGTH, TASK_ID } from "../testing/fake-cluster.ts";
import type { FakeCluster, FakeNode, FakeSession, Script } from "../testing/fake-cluster.ts";
import { askForContent, assembled, take } from "../testing/handed-content.ts";
import { type Gate, openGate } from "../testing/open-gate.ts";

const PIECE_COUNT = 20;
const LENGTH = PIECE_COUNT * PIECE_LENGTH;
const WAIT = { timeout: 20_000 };
const toOrigin: Script = (session) => session.say({ kind: "origin", reason: "test" });

let cluster: FakeCluster;
let right: Buffer;
/** Has something else than the file, and says what it has. */
let liar: FakeNode;
let seed: FakeNode;
/** Asked for the rest, the liar waits for it. */
let rest: Gate;
let freeCount: number;

/** Gives the first pieces that it is asked for at once, and the others when the gate opens. */
function held(source: PieceSource): PieceSource {
  let askedCount = 0;
  return {
    async openPiece(request, options) {
      askedCount += 1;
      if (askedCount > freeCount) await rest.promise;
      return await source.openPiece(request, options);
    },
  };
}

beforeEach(async () => {
  rest = openGate();
  cluster = await openFakeCluster(LENGTH);
  right = cluster.origin.content;
  cluster.origin.content = randomBytes(LENGTH);
  liar = await cluster.addNode("liar", { corrupt: held });
  await liar.download();
  cluster.origin.content = right;
  seed = await cluster.addNode("seed", { script: toOrigin });
  await seed.download();
  cluster.origin.servedLength = 0;
});
afterEach(async () => {
  rest.resolve();
  await cluster[Symbol.asyncDispose]();
});

/** As a scheduler hands the seed out when it has said what it has. */
async function seedWithDigests(): Promise<CandidateParent> {
  const task = await seed.storage.openTask(TASK_ID);
  return { ...seed.candidate, digests: task!.pieces };
}

/** A child that is sent to the liar first. */
async function openChild(): Promise<{
  readonly child: FakeNode;
  readonly session: () => FakeSession;
}> {
  const informed = await seedWithDigests();
  let count = 0;
  const child = await cluster.addNode("child", {
    // By the time that it registers again, the scheduler has heard of the seed.
    script: (session) =>
      session.say({ kind: "parents", parents: [++count === 1 ? liar.candidate : informed] }),
  });
  return { child, session: () => child.sessions[0]! };
}

function outputOf(child: FakeNode): { path: string; overwrite: boolean; forceHardLink: boolean } {
  return { path: join(child.directory, "out"), overwrite: false, forceHardLink: false };
}

describe("What the origin's reader says of pieces, heard when a liar has given some", () => {
  it("has them fetched again, and the liar dropped", async () => {
    freeCount = 5;
    const { child, session } = await openChild();
    const downloading = child.download({ output: outputOf(child) });
    await vi.waitFor(() => expect(session().pieces).toHaveLength(freeCount), WAIT);
    session().say({ kind: "parents", parents: [await seedWithDigests()] });
    await downloading;
    expect((await readFile(outputOf(child).path)).equals(right)).toBe(true);
    expect(session().reports).toContain("piece - failed at peer-liar");
    const task = await child.storage.openTask(TASK_ID);
    const givers = new Set([...task!.pieces.values()].map(({ parentId }) => parentId));
    expect([...givers]).toEqual(["127.0.0.1-seed"]);
    expect(cluster.origin.servedLength).toBe(0);
  });

  it("counts for what is on its way, too", async () => {
    freeCount = 0;
    const { child, session } = await openChild();
    const downloading = child.download({ output: outputOf(child) });
    await vi.waitFor(
      () => expect(child.manager.report()[0]?.transfer?.pieces.length ?? 0).toBeGreaterThan(0),
      WAIT,
    );
    session().say({ kind: "parents", parents: [await seedWithDigests()] });
    await vi.waitFor(() => expect(session().pieces.length).toBeGreaterThan(0), WAIT);
    rest.resolve();
    await downloading;
    expect((await readFile(outputOf(child).path)).equals(right)).toBe(true);
    expect(session().reports).toContain("piece - failed at peer-liar");
    expect(child.sessions).toHaveLength(1);
  });

  it("has all of it handed over anew where content was handed over", async () => {
    freeCount = 5;
    const { child, session } = await openChild();
    let isTold = false;
    const handed = await take(askForContent(child), async (count) => {
      if (count !== 3 || isTold) return;
      isTold = true;
      session().say({ kind: "parents", parents: [await seedWithDigests()] });
    });
    expect(handed).toMatchObject({ startedCount: 2, failure: undefined });
    expect(assembled(handed).equals(right)).toBe(true);
  });
});
