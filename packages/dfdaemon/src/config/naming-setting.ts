import { codeOf } from "../code-of.ts";
import { DaemonError } from "../errors.ts";
import { toError } from "../to-error.ts";

/**
 * The server that opens; where it cannot listen, the error also says which setting has the address, for whoever has to change it.
 *
 * @throws {DaemonError} `ERR_LISTEN`, and whatever else `opening` rejects with
 */
export async function namingSetting<Server>(
  setting: string,
  opening: Promise<Server>,
): Promise<Server> {
  try {
    return await opening;
  } catch (error) {
    const code = codeOf(error);
    if (!LISTEN_FAILURES.includes(code)) throw error;
    const named =
      code === "ERR_OWNER"
        ? "settings are download.server.socketOwner and socketGroup"
        : `setting is ${setting}`;
    throw new DaemonError("ERR_LISTEN", `${toError(error).message}; the ${named}, see --set`, {
      cause: error,
    });
  }
}

/** Of serveRpc, of the piece servers over TCP, of QUIC, and of the HTTP servers. */
const LISTEN_FAILURES: readonly string[] = [
  "ERR_ADDRESS_IN_USE",
  "ERR_LISTEN_FAILED",
  "ERR_OWNER",
  "ERR_ADDRESS",
  "ERR_LISTEN",
];
