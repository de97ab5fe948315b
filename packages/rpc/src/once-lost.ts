import { connectivityState } from "@grpc/grpc-js";
import type { RpcConnection } from "./client.ts";

/**
 * Calls `onLost` once, when a connection that is there is there no more: broken, sent away (GOAWAY), or closed by this side. To be called
 * right after a call that was answered.
 */
export function onceLost(connection: RpcConnection, onLost: () => void): void {
  const channel = connection.channel.getChannel();
  channel.watchConnectivityState(connectivityState.READY, Infinity, () => onLost());
}
