import { afterEach, expect, it, vi } from "vitest";
import { SILENT_LOGGER } from "../logger.ts";
import { serveFakeScheduler } from "../testing/fake-scheduler.ts";
import { SchedulerMember } from "./scheduler-member.ts";

const WAIT = { timeout: 20_000, interval: 10 };
/** Of a pause that is not over before this test. */
const ENDLESS = 100_000;

const disposables: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of disposables.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

it("asks a scheduler again when it can be dialled, however long it was away", async () => {
  const former = await serveFakeScheduler();
  disposables.push(former);
  const { ip, port, address } = former;
  let random = 0.5;
  const onLeftOut = vi.fn<() => void>(() => {
    // The next question is a day away; what comes after that is not.
    random = ENDLESS;
    setImmediate(() => (random = 0.5));
  });
  const member = new SchedulerMember(
    { name: address, ip, port, id: 0, clusterId: 0 },
    {
      hostId: "127.0.0.1-node",
      describeHost: async () => ({ id: "127.0.0.1-node", ip: "127.0.0.1" }),
      announceIntervalMs: 60_000,
      probeIntervalMs: 60_000,
      onHealth: () => {},
      logger: { ...SILENT_LOGGER, warn: onLeftOut },
      random: () => random,
    },
  );
  disposables.push(member);
  member.enroll(true);
  await vi.waitFor(() => expect(former.announcements).toHaveLength(1), WAIT);
  await former.abort();
  await vi.waitFor(() => expect(member.healthy).toBe(false), WAIT);
  await new Promise(setImmediate);
  expect(onLeftOut).toHaveBeenCalledOnce();
  const restarted = await serveFakeScheduler({ port });
  disposables.push(restarted);
  await vi.waitFor(() => expect(restarted.announcements).toHaveLength(1), WAIT);
  expect(member.healthy).toBe(true);
});
