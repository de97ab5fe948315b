import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { SettingsError } from "@damselfly/settings";
import { codeOf } from "../code-of.ts";

export interface SocketOwner {
  /** Undefined: the daemon's own. */
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
}

/** Where names stand for numbers; a system that has others as well is asked through `getent`. */
export interface AccountSources {
  readonly passwdPath: string;
  readonly groupPath: string;
  /** @returns the line of this name; undefined: there is none, or nobody who could be asked */
  readonly ask: (database: "passwd" | "group", name: string) => Promise<string | undefined>;
}

/** What a name may look like: nothing that could be taken for an option or a path. */
const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.@\\$-]{0,255}$/;
/** The last number has a meaning of its own: leave as it is. */
const ID_MAX = 2 ** 32 - 2;
const ASK_MS = 5_000;

/**
 * The user and the group that the unix socket is given to, by number.
 *
 * @throws {SettingsError} `ERR_SETTINGS_VALUE` naming the setting whose user or group there is not
 */
export async function findSocketOwner(
  { socketOwner, socketGroup }: { readonly socketOwner: string; readonly socketGroup: string },
  sources: AccountSources = SYSTEM,
): Promise<SocketOwner> {
  const uid = await findId(socketOwner, {
    setting: "download.server.socketOwner",
    what: "user",
    find: (name) => find(name, sources.passwdPath, () => sources.ask("passwd", name)),
  });
  const gid = await findId(socketGroup, {
    setting: "download.server.socketGroup",
    what: "group",
    find: (name) => find(name, sources.groupPath, () => sources.ask("group", name)),
  });
  return { uid, gid };
}

async function findId(
  text: string,
  how: {
    readonly setting: string;
    readonly what: string;
    readonly find: (name: string) => Promise<number | undefined>;
  },
): Promise<number | undefined> {
  if (text === "") return undefined;
  const isNumber = /^\d+$/.test(text);
  const id = isNumber ? Number(text) : NAME.test(text) ? await how.find(text) : undefined;
  if (id !== undefined && id <= ID_MAX) return id;
  throw new SettingsError(
    "ERR_SETTINGS_VALUE",
    `Cannot give the socket to ${how.what} ${JSON.stringify(text)}: there is no such ${how.what}; the setting is ${how.setting}`,
  );
}

async function find(
  name: string,
  path: string,
  ask: () => Promise<string | undefined>,
): Promise<number | undefined> {
  const lines = (await readFile(path, "utf8").catch(ignoreMissing))?.split("\n") ?? [];
  const line = lines.find((each) => each.startsWith(`${name}:`)) ?? (await ask());
  // name:password:number:…, of both
  const number = line?.split(":")[2] ?? "";
  return /^\d+$/.test(number) ? Number(number) : undefined;
}

function ignoreMissing(error: unknown): undefined {
  if (codeOf(error) !== "ENOENT") throw error;
}

const SYSTEM: AccountSources = {
  passwdPath: "/etc/passwd",
  groupPath: "/etc/group",
  async ask(database, name) {
    try {
      const { stdout } = await promisify(execFile)("getent", [database, name], { timeout: ASK_MS });
      return stdout.split("\n", 1)[0];
    } catch {
      return undefined; // it knows none either, or is not there
    }
  },
};
