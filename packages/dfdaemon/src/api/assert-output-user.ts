import { status, type Download__Output } from "@damselfly/rpc";

/**
 * Whoever finds a socket of his own takes the daemon's user for himself, though it may have been given to him (`download.server.socketOwner`).
 * The output would be the daemon's then, or a link to its copy. Callers that do not say who they are, as Dragonfly's, have it written.
 *
 * @throws {RpcError} `PERMISSION_DENIED` if the output is wanted by another user
 */
export function assertOutputUser(download: Download__Output | null): void {
  const uid = download?.extension?.uid;
  const daemonUid = process.geteuid?.();
  if (!download?.outputPath || uid === undefined || uid === daemonUid) return;
  throw status(
    "PERMISSION_DENIED",
    `Cannot write ${download.outputPath}: the daemon runs as user ${daemonUid}, its caller as user ${uid}`,
  );
}
