import { afterEach, beforeEach, expect, it } from "vitest";
import {
  openFakeCluster,
  PIECE_LENGTH,
  type FakeCluster,
  type FakeSession,
} from "../testing/fake-cluster.ts";

let cluster: FakeCluster;

beforeEach(async () => {
  cluster = await openFakeCluster(3 * PIECE_LENGTH);
});
afterEach(async () => await cluster[Symbol.asyncDispose]());

/** As Dragonfly's scheduler: a registration for metadata is noted, any other is sent to the origin; a last word ends the stream. */
function script(session: FakeSession): void {
  const finish = session.finish.bind(session);
  session.finish = async (from) => {
    await finish(from);
    session.end();
  };
  if (session.registration.metadataOnly === true) session.say({ kind: "noted" });
  else session.say({ kind: "origin", reason: "a test" });
}

it("a seed that is asked for a task it has tells the scheduler so, and only then says that it is done", async () => {
  const seed = await cluster.addNode("seed", { script });
  const asked = { forOthers: true, needBackToSource: true };
  await seed.download(asked);
  expect(seed.sessions[0]?.registration.metadataOnly).toBeUndefined();
  const events = await seed.download(asked);
  expect(events[0]).toMatchObject({ kind: "started", finished: true });
  const [, session] = seed.sessions;
  expect(session?.registration).toMatchObject({ metadataOnly: true, needBackToSource: false });
  expect(session?.held.toSorted((one, other) => one - other)).toEqual([0, 1, 2]);
  expect(session?.reports).toEqual(["started from parents", "finished from parents"]);
  expect(events).toHaveLength(4);
});

it("a scheduler of Dragonfly's hears nothing of pieces that would look like a second download", async () => {
  const seed = await cluster.addNode("seed", { script, dialect: "dragonfly" });
  await seed.download({ forOthers: true });
  await seed.download({ forOthers: true });
  const session = seed.sessions.find(({ registration }) => registration.metadataOnly);
  expect([session?.held, session?.reports.length]).toEqual([[], 2]);
});

it("a program on this node that asks for what is here troubles no scheduler", async () => {
  const node = await cluster.addNode("node", { script });
  await node.download();
  await node.download();
  expect(node.sessions).toHaveLength(1);
});

it("a scheduler that will not listen keeps nobody from the task", async () => {
  const seed = await cluster.addNode("seed", {
    script: (session) => {
      if (session.registration.metadataOnly === true) session.end(new Error("deaf"));
      else script(session);
    },
  });
  await seed.download({ forOthers: true });
  expect(await seed.download({ forOthers: true })).toHaveLength(4);
});
