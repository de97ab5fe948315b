import { createDfdaemonUploadClient, createSchedulerClient } from "@damselfly/rpc";
import type { TlsIdentity } from "@damselfly/transport";
import { LOOPBACK, type RunningDaemon, type RunningScheduler } from "./daemon.ts";
import { eventually } from "./eventually.ts";

/**
 * Resolves when the scheduler knows all of these daemons, each where it is now and not where one of its name was before: from then on
 * they find each other. Without TLS unless it is given.
 */
export async function untilAnnounced(
  scheduler: Pick<RunningScheduler, "port">,
  daemons: readonly (Pick<RunningDaemon, "hostId"> & Partial<Pick<RunningDaemon, "uploadPort">>)[],
  options: { readonly tls?: TlsIdentity } = {},
): Promise<void> {
  await using client = createSchedulerClient({ ip: LOOPBACK, port: scheduler.port }, options);
  await eventually("every daemon's announcement", async () => {
    const { hosts } = await client.listHosts({});
    const ports = new Map(hosts.map(({ id, port }) => [id, port]));
    const isKnown = ({ hostId, uploadPort = ports.get(hostId) }: (typeof daemons)[number]) =>
      ports.has(hostId) && ports.get(hostId) === uploadPort;
    return daemons.every(isKnown) ? true : undefined;
  });
}

/** Resolves when the daemon has this many pieces of the task, as its children would learn it. Without TLS. */
export async function untilHolding(
  daemon: Pick<RunningDaemon, "name" | "uploadPort">,
  task: { readonly taskId: string; readonly pieceCount: number },
  count: number,
): Promise<void> {
  await using client = createDfdaemonUploadClient({ ip: LOOPBACK, port: daemon.uploadPort });
  const request = {
    hostId: "127.0.0.1-test",
    taskId: task.taskId,
    interestedPieceNumbers: Array.from({ length: task.pieceCount }, (_, number) => number),
  };
  const signal = AbortSignal.timeout(60_000);
  let held = 0;
  for await (const { length } of client.syncPieces(request, { signal })) {
    if (length > 0) held += 1;
    if (held === count) return;
  }
  throw new Error(`${daemon.name} ended with ${held} pieces, expected ${count}`);
}
