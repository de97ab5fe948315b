import { createSchedulerClient } from "@damselfly/rpc";
import { type SchedulerServer, serveScheduler } from "@damselfly/scheduler";
import { assertHolds, type FuzzTarget, type OpenTarget } from "../engine/fuzz-target.ts";
import { PROTOBUF_WORDS, RpcCaller } from "./rpc-caller.ts";

/**
 * The same as `rpc-messages` at a scheduler: announcements of hosts and peers, and questions about them. Whatever hosts say where they are,
 * nobody is dialled: no seed is asked, and no rival looked for.
 */
export const schedulerMessages: FuzzTarget = {
  name: "scheduler-messages",
  summary: "protobuf bytes at a scheduler: every call ends in a status, good daemons are served",
  unit: "calls",
  lengthMax: 2_048,
  groupLength: 64,
  isConcurrent: true,
  open: async () => await SchedulerFuzz.open(),
};

const NOBODY_IS_DIALLED = { seedCallCountMax: 0, probeCountMax: 0 };
const HOST = { id: "127.0.0.1-good", hostname: "good", ip: "127.0.0.1", port: 4_000 };
const TASK_ID = "5a".repeat(32);
const ANSWER_MS = 10_000;

class SchedulerFuzz implements OpenTarget {
  readonly examples: readonly Uint8Array[];
  readonly dictionary: readonly Uint8Array[] = PROTOBUF_WORDS;
  readonly #server: SchedulerServer;
  readonly #failures: string[];
  readonly #caller: RpcCaller;
  #checkCount = 0;

  private constructor(server: SchedulerServer, failures: string[]) {
    this.#server = server;
    this.#failures = failures;
    const authority = `http://127.0.0.1:${server.address.port}`;
    this.#caller = new RpcCaller([
      {
        name: "scheduler.v2.Scheduler",
        authority,
        messages: MESSAGES,
        conversations: CONVERSATIONS,
      },
    ]);
    this.examples = this.#caller.examples;
  }

  static async open(): Promise<SchedulerFuzz> {
    const failures: string[] = [];
    const error = (fields: object, message: string): void => {
      const { err } = fields as { err?: unknown };
      failures.push(`${message}: ${err instanceof Error ? err.stack : String(err)}`);
    };
    const server = await serveScheduler({
      address: { ip: "127.0.0.1", port: 0 },
      limits: NOBODY_IS_DIALLED,
      // Calls come as fast as they can; how they are held back is tested elsewhere.
      requestsPerSecondMax: 1e6,
      logger: { debug() {}, info() {}, warn() {}, error },
    });
    return new SchedulerFuzz(server, failures);
  }

  async run(input: Uint8Array): Promise<void> {
    await this.#caller.call(input);
    const failures = this.#failures;
    assertHolds(failures.length === 0, () => `a handler failed: ${failures.splice(0)[0]}`);
  }

  /** A good daemon is told to read the origin, and all hosts are forgotten. */
  async check(): Promise<void> {
    const signal = AbortSignal.timeout(ANSWER_MS);
    await using client = createSchedulerClient(this.#server.address);
    const host = { ...HOST, downloadPort: HOST.port };
    await client.announceHost({ host }, { signal });
    // One that nobody else can have said anything about.
    this.#checkCount += 1;
    const about = { hostId: HOST.id, taskId: `good-${this.#checkCount}`, peerId: "good" };
    await using peer = client.announcePeer({ signal });
    await peer.write({ ...about, registerPeerRequest: { download: DOWNLOAD } });
    let answer: string | undefined;
    for await (const { response } of peer) {
      answer = response;
      break;
    }
    assertHolds(
      answer === "needBackToSourceResponse",
      () => `a good daemon is answered ${String(answer)}`,
    );
    const { hosts } = await client.listHosts({}, { signal });
    for (const { id } of hosts) await client.deleteHost({ hostId: id }, { signal });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#caller[Symbol.dispose]();
    await this.#server[Symbol.asyncDispose]();
  }
}

const DOWNLOAD = {
  url: "http://origin.invalid/file?a=1",
  type: "STANDARD",
  pieceLength: 4 * 2 ** 20,
  concurrentPieceCount: 8,
  actualPieceLength: 4 * 2 ** 20,
  actualContentLength: 8 * 2 ** 20,
  actualPieceCount: 2,
} as const;

const OTHER = { id: "127.0.0.1-h", hostname: "h", ip: "127.0.0.1", port: 4_000 };
const NAMES = { hostId: OTHER.id, taskId: TASK_ID, peerId: "p" };
const PIECE = { number: 1, offset: 4 * 2 ** 20, length: 4 * 2 ** 20, digest: "crc32:1" };
const REGISTRATION = {
  ...NAMES,
  registerPeerRequest: { download: DOWNLOAD, extension: { version: 1, contentVersion: "1" } },
};
const NOW = { seconds: 1_767_000_000, nanos: 0 };
const CANDIDATE = {
  id: "q",
  state: "Running",
  cost: { seconds: 0, nanos: 0 },
  task: { id: TASK_ID, url: DOWNLOAD.url, state: "Running", createdAt: NOW, updatedAt: NOW },
  host: { ...OTHER, downloadPort: OTHER.port },
  createdAt: NOW,
  updatedAt: NOW,
};

/** Good messages, by the method's name. */
const MESSAGES: Readonly<Record<string, readonly object[]>> = {
  announceHost: [
    { host: { ...OTHER, downloadPort: OTHER.port }, interval: { seconds: 30, nanos: 0 } },
    {
      host: {
        ...OTHER,
        id: "127.0.0.2-s-seed",
        type: 1,
        downloadPort: OTHER.port,
        cpu: { percent: 3, processPercent: 1 },
        memory: { usedPercent: 40 },
        disk: { usedPercent: 50 },
        extension: { version: 1, plainPeers: true },
      },
    },
  ],
  announcePeer: [REGISTRATION],
  statPeer: [NAMES],
  deletePeer: [NAMES],
  statTask: [NAMES],
  deleteTask: [NAMES],
  listHosts: [{}, { type: 1 }],
  deleteHost: [{ hostId: OTHER.id }],
};

/** What follows a registration. */
const CONVERSATIONS: Readonly<Record<string, readonly (readonly object[])[]>> = {
  announcePeer: [
    [{ downloadPeerStartedRequest: {} }, { downloadPieceFinishedRequest: { piece: PIECE } }],
    [
      { downloadPeerBackToSourceStartedRequest: { description: "d" } },
      { downloadPieceBackToSourceFinishedRequest: { piece: PIECE } },
    ],
    [
      { downloadPieceFailedRequest: { pieceNumber: 1, parentId: "q", temporary: true } },
      { reschedulePeerRequest: { candidateParents: [CANDIDATE], description: "d" } },
    ],
    [
      { downloadPieceBackToSourceFailedRequest: { pieceNumber: 1, unknown: { message: "m" } } },
      { downloadPeerBackToSourceFailedRequest: { description: "d" } },
    ],
    [{ downloadPeerFailedRequest: { description: "d" } }, { downloadPeerFinishedRequest: {} }],
    [
      { downloadPieceBackToSourceFailedRequest: { backend: { message: "m", statusCode: 404 } } },
      { downloadPeerBackToSourceFinishedRequest: {} },
    ],
  ].map((said) => [REGISTRATION, ...said.map((each) => ({ ...NAMES, ...each }))]),
};
