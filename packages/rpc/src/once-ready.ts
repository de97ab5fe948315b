import { connectivityState } from "@grpc/grpc-js";
import type { RpcConnection } from "./client.ts";

/**
 * Dials until there is a connection, with pauses of up to `grpc.max_reconnect_backoff_ms`, then calls `onReady`, once. Never where the
 * connection is disposed before.
 *
 * @returns whether it waits; false: there is a connection, and nothing will be called
 */
export function onceReady(connection: RpcConnection, onReady: () => void): boolean {
  const channel = connection.channel.getChannel();
  const wait = (): boolean => {
    const state = channel.getConnectivityState(false);
    if (state === connectivityState.READY || state === connectivityState.SHUTDOWN) return false;
    channel.getConnectivityState(true); // dials
    channel.watchConnectivityState(state, Infinity, () => {
      if (!wait() && channel.getConnectivityState(false) === connectivityState.READY) onReady();
    });
    return true;
  };
  return wait();
}
