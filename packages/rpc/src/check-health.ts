import { callUnary, type RpcCallOptions, type RpcConnection } from "./client.ts";
import { loadService } from "./load-service.ts";
import { RpcError } from "./rpc-error.ts";

/**
 * Asks a server, over a connection that is there anyway, whether it serves (grpc.health.v1, the server as such). One without a health
 * service serves, as far as anybody can tell.
 *
 * @throws {RpcError} `UNAVAILABLE` when it does not serve, else why it could not be asked
 */
export async function checkHealth(
  connection: RpcConnection,
  options: RpcCallOptions = {},
): Promise<void> {
  const method = loadService("grpc.health.v1.Health").methods.get("check");
  if (method === undefined) throw new TypeError("grpc.health.v1.Health has no check");
  try {
    const response = await callUnary(connection, method, { service: "" }, options);
    const status = "status" in response ? response.status : undefined;
    if (status === "SERVING") return;
    throw new RpcError("UNAVAILABLE", `it says that it is ${String(status)}`, {
      target: connection.target,
      method: method.path.slice(1),
    });
  } catch (error) {
    if (error instanceof RpcError && error.code === "UNIMPLEMENTED") return;
    throw error;
  }
}
