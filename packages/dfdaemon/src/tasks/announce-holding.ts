import type { PieceRecord } from "@damselfly/storage";
import type { PeerRegistration, SchedulerLink } from "../scheduling/scheduler-link.ts";

/**
 * Tells the scheduler that the whole task is here, so that it sends others to this host: one that was restarted, or has forgotten the peer
 * that once fetched the task, asks its seed again and would learn nothing from a seed that says "done". In Dragonfly's words: a registration
 * with `metadata_only`, then started and finished (client 1.5.10, task.rs, `download_partial_with_scheduler_from_local`). A scheduler of ours
 * hears of each piece as well, and hands on the digests of those that this host read at the origin.
 *
 * @throws {DaemonError} `ERR_SCHEDULER`
 * @throws the signal's reason
 */
export async function announceHolding(
  scheduler: SchedulerLink,
  registration: PeerRegistration,
  pieces: Iterable<PieceRecord>,
  signal: AbortSignal,
): Promise<void> {
  const wanted = { ...registration, metadataOnly: true, needBackToSource: false };
  await using session = await scheduler.register(wanted, { signal });
  let farewell: Promise<void> | undefined;
  // Read to the end, which tells that the last word was heard. Whatever the first answer says: nothing is wanted.
  for await (const _ of session.events) {
    if (farewell !== undefined) continue;
    // Before others are sent to whoever says that he has the task, too.
    if (session.dialect === "damselfly") session.holds(pieces);
    session.started("parents");
    farewell = session.finish("parents");
  }
  await farewell;
}
