import type { Writable } from "node:stream";

import type { DaemonCommand } from "./own-daemon.ts";

/** Everything that dfget has to do with the process it runs in. */
export interface DfgetIo {
  readonly stdout: Writable & { readonly isTTY?: boolean; readonly columns?: number };
  readonly stderr: Writable & { readonly isTTY?: boolean; readonly columns?: number };
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Stops the download; give an `Interrupt` as the reason. */
  readonly signal: AbortSignal;
  /** Undefined where there are no user ids. */
  readonly uid: number | undefined;
  readonly pid: number;
  readonly cwd: string;
  readonly platform: string;
  /** Where the node's daemon is looked for; absent: where Dragonfly's is. */
  readonly defaultEndpoint?: string;
  /** How to start a daemon; absent: the installed dfdaemon. */
  readonly daemonCommand?: DaemonCommand;
}
