/* Schedulers over real gRPC that do as a test says, for tests of the daemon's side of the conversation. */
import {
  implementService,
  serveRpc,
  type AnnounceHostRequest__Output,
  type AnnouncePeerRequest__Output,
  type AnnouncePeerResponse,
  type DuplexCall,
  type RpcServer,
} from "@damselfly/rpc";

/** A peer's conversation as a test sees it. */
export type FakePeerCall = DuplexCall<AnnouncePeerRequest__Output, AnnouncePeerResponse>;

export interface FakeSchedulerOptions {
  /** 127.0.0.1 by default. */
  readonly ip?: string;
  /** 0, the default, picks a free one. */
  readonly port?: number;
  /** What becomes of each conversation; absent: everything is heard and nothing said. */
  readonly onPeer?: (call: FakePeerCall) => Promise<void>;
  /** Called before each announcement is accepted; may throw or wait. */
  readonly onAnnounce?: (request: AnnounceHostRequest__Output) => Promise<void> | void;
  readonly channelOptions?: Readonly<Record<string, number>>;
}

export interface FakeScheduler extends AsyncDisposable {
  readonly ip: string;
  readonly port: number;
  readonly address: string;
  /** Hosts in the order of their announcements. */
  readonly announcements: AnnounceHostRequest__Output[];
  /** Host ids in the order in which they left. */
  readonly departures: string[];
  /** Task ids in the order of their registrations. */
  readonly registrations: string[];
  /** Breaks every connection, as a crash does. */
  abort(): Promise<void>;
}

export async function serveFakeScheduler(
  options: FakeSchedulerOptions = {},
): Promise<FakeScheduler> {
  const announcements: AnnounceHostRequest__Output[] = [];
  const departures: string[] = [];
  const registrations: string[] = [];
  const service = implementService("scheduler.v2.Scheduler", {
    async announceHost(request) {
      await options.onAnnounce?.(request);
      announcements.push(request);
      return {};
    },
    async deleteHost({ hostId }) {
      departures.push(hostId);
      return {};
    },
    async announcePeer(call) {
      const heard = noting(call, registrations);
      if (options.onPeer === undefined) for await (const _ of heard.requests);
      else await options.onPeer(heard);
    },
  });
  const { ip = "127.0.0.1" } = options;
  const server: RpcServer = await serveRpc({
    address: { ip, port: options.port ?? 0 },
    services: [service],
    graceMs: 200,
    channelOptions: options.channelOptions,
  });
  if (!("ip" in server.address)) throw new TypeError("expected a TCP address");
  const { port } = server.address;
  return {
    ip,
    port,
    address: `${ip}:${port}`,
    announcements,
    departures,
    registrations,
    abort: () => server.abort(),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

function noting(call: FakePeerCall, registrations: string[]): FakePeerCall {
  async function* requests(): AsyncGenerator<AnnouncePeerRequest__Output> {
    for await (const request of call.requests) {
      if (request.request === "registerPeerRequest") registrations.push(request.taskId);
      yield request;
    }
  }
  return { ...call, requests: requests() };
}
