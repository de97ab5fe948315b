import { parseArgs } from "node:util";
import {
  createCacheClient,
  RpcError,
  timestampToDate,
  type CacheClient,
  type ListCacheResponse__Output,
} from "@damselfly/rpc";
import { nearestName } from "@damselfly/settings";
import { DEFAULT_CONFIG_PATH } from "../config/default-paths.ts";
import { loadConfig } from "../config/load-config.ts";
import { formatCache, formatEvictions } from "./format-cache.ts";

/** What the command needs of its process. */
export interface CacheCommandIo {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown };
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly now?: () => number;
}

/**
 * `dfdaemon cache …`: looks into the cache of a running daemon, and says what is to stay or to go.
 *
 * @param argv - what follows `cache`
 * @returns the exit code: 0; 1 if it could not be done; 2 if the command line cannot be understood
 */
export async function runCacheCommand(
  argv: readonly string[],
  io: CacheCommandIo,
): Promise<number> {
  try {
    io.stdout.write(await run(argv, io));
    return 0;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    io.stderr.write(`dfdaemon cache: ${error.message}\n`);
    return error instanceof CacheUsageError ? 2 : 1;
  }
}

/** What `dfdaemon cache --help` prints. */
export const CACHE_HELP: string = `Usage: dfdaemon cache list             what is in the cache, least recently used first
       dfdaemon cache pin TASK...      keep it, whatever room is needed
       dfdaemon cache unpin TASK...
       dfdaemon cache rm TASK...       delete it here; files that users have stay
       dfdaemon cache gc [--dry-run]   evict now what the settings want evicted

TASK is a task id, the first digits of one (at least four), or the URL it was read from.

  --socket PATH  where the daemon listens (default: download.server.socketPath)
  --config FILE  settings to find that in (default ${DEFAULT_CONFIG_PATH})
  --json         for programs
  --dry-run      only say what gc would evict
  --force        rm: also what is pinned or in use
`;

/** A command line that cannot be understood. */
class CacheUsageError extends Error {
  override readonly name = "CacheUsageError";
}

async function run(argv: readonly string[], io: CacheCommandIo): Promise<string> {
  const [verb, ...rest] = argv;
  if (verb === undefined || argv.includes("--help") || argv.includes("-h")) return CACHE_HELP;
  const action = ACTIONS.get(verb);
  if (action === undefined) {
    throw new CacheUsageError(
      `Cannot run '${verb}': expected ${[...ACTIONS.keys()].join(", ")}; see dfdaemon cache --help`,
    );
  }
  const given = parseGiven(verb, action, rest);
  const socketPath = given.socket ?? (await findSocket(given.config, io.env));
  await using client = createCacheClient({ socketPath });
  try {
    return await action.run(client, given, io.now ?? Date.now);
  } catch (error) {
    throw explain(error, socketPath);
  }
}

interface Given {
  readonly tasks: string[];
  readonly socket: string | undefined;
  readonly config: string | undefined;
  readonly json: boolean;
  readonly dryRun: boolean;
  readonly force: boolean;
}

interface Action {
  /** Besides those that all have. */
  readonly flags: readonly string[];
  readonly takesTasks: boolean;
  run(client: CacheClient, given: Given, now: () => number): Promise<string>;
}

const ACTIONS: ReadonlyMap<string, Action> = new Map<string, Action>([
  [
    "list",
    {
      flags: [],
      takesTasks: false,
      async run(client, { json }, now) {
        const { tasks, state } = await client.listCache({}, LIMIT);
        if (state === null) throw new Error("Cannot list the cache: the answer has no state");
        if (json) return toJson({ tasks: tasks.map(toPlain), state });
        return formatCache(tasks, state, { nowMs: now() });
      },
    },
  ],
  ["pin", pinning(true)],
  ["unpin", pinning(false)],
  [
    "rm",
    {
      flags: ["force"],
      takesTasks: true,
      async run(client, { tasks, force, json }) {
        const { taskIds } = await client.removeTasks({ tasks, force }, LIMIT);
        return json ? toJson({ taskIds }) : listIds("removed", taskIds);
      },
    },
  ],
  [
    "gc",
    {
      flags: ["dry-run"],
      takesTasks: false,
      async run(client, { dryRun, json }) {
        const { evicted, shortBytes } = await client.collectGarbage({ dryRun }, LIMIT);
        if (json) return toJson({ dryRun, evicted, shortBytes });
        return formatEvictions(evicted, { dryRun, shortBytes });
      },
    },
  ],
]);

function pinning(pinned: boolean): Action {
  return {
    flags: [],
    takesTasks: true,
    async run(client, { tasks, json }) {
      const { taskIds } = await client.pinTasks({ tasks, pinned }, LIMIT);
      return json ? toJson({ taskIds, pinned }) : listIds(pinned ? "pinned" : "unpinned", taskIds);
    },
  };
}

const COMMON_FLAGS = ["socket", "config", "json"] as const;

function parseGiven(verb: string, action: Action, args: readonly string[]): Given {
  const options = {
    socket: { type: "string" },
    config: { type: "string" },
    json: { type: "boolean" },
    "dry-run": { type: "boolean" },
    force: { type: "boolean" },
  } as const;
  const known = [...COMMON_FLAGS, ...action.flags];
  const { tokens } = parseArgs({ args: [...args], options, strict: false, tokens: true });
  for (const token of tokens) {
    if (token.kind !== "option" || known.includes(token.name)) continue;
    const nearest = nearestName(token.name, known);
    const hint = nearest === undefined ? "see dfdaemon cache --help" : `did you mean --${nearest}?`;
    throw new CacheUsageError(`Cannot use ${token.rawName}: ${verb} has no such flag; ${hint}`);
  }
  try {
    const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
    if (action.takesTasks && positionals.length === 0)
      throw new CacheUsageError(`Cannot run ${verb}: it is not said which task`);
    if (!action.takesTasks && positionals.length > 0)
      throw new CacheUsageError(`Cannot run ${verb}: '${positionals[0]}' is one word too many`);
    return {
      tasks: positionals,
      socket: values.socket,
      config: values.config,
      json: values.json ?? false,
      dryRun: values["dry-run"] ?? false,
      force: values.force ?? false,
    };
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw new CacheUsageError(`Cannot run ${verb}: ${cause.message}`, { cause });
  }
}

async function findSocket(path: string | undefined, env: CacheCommandIo["env"]): Promise<string> {
  const { config } = await loadConfig({
    path: path ?? env["DFDAEMON_CONFIG"] ?? DEFAULT_CONFIG_PATH,
    pathGiven: path !== undefined,
    env,
  });
  return config.download.server.socketPath;
}

function explain(error: unknown, socketPath: string): Error {
  if (!(error instanceof RpcError))
    return error instanceof Error ? error : new Error(String(error));
  if (error.code === "UNAVAILABLE")
    return new Error(`Cannot reach a dfdaemon at ${socketPath}: ${error.reason}`, {
      cause: error,
    });
  if (error.code === "UNIMPLEMENTED")
    return new Error(`Cannot ask the daemon at ${socketPath}: it is not one of Damselfly's`, {
      cause: error,
    });
  return new Error(error.reason, { cause: error });
}

function toPlain(task: ListCacheResponse__Output["tasks"][number]): object {
  const { createdAt, usedAt, ...rest } = task;
  return {
    ...rest,
    createdAt: createdAt && timestampToDate(createdAt).toISOString(),
    usedAt: usedAt && timestampToDate(usedAt).toISOString(),
  };
}

function listIds(verb: string, taskIds: readonly string[]): string {
  return taskIds.map((taskId) => `${verb} ${taskId}\n`).join("");
}

function toJson(value: object): string {
  return `${JSON.stringify(value)}\n`;
}

/** A cache of 100,000 tasks is looked at in seconds. */
const LIMIT = { timeoutMs: 60_000 };
