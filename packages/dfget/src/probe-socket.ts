import { connect } from "node:net";

import { systemErrorCode } from "./errors.ts";

/** Whether somebody accepts connections at a unix socket: undefined if so, else the code of the error (`ENOENT`, `ECONNREFUSED`, …). */
export function probeSocket(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once("connect", () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.once("error", (error) => resolve(systemErrorCode(error) ?? "EIO"));
  });
}

/** Codes of `probeSocket` that mean that nobody is there: no such file, or one left by a daemon that died. */
export const NOBODY_THERE: ReadonlySet<string> = new Set(["ENOENT", "ECONNREFUSED"]);
