import { NODE_CERTIFICATE_NAME, type Tls, TlsAcceptor, toTlsSource } from "@damselfly/transport";
import {
  Server,
  ServerCredentials,
  type ChannelOptions,
  type UntypedHandleCall,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { once, setMaxListeners } from "node:events";
import { createServer, type Server as NetServer, type Socket } from "node:net";
import { Arrivals } from "./arrivals.ts";
import { ConnectionSorter } from "./connection-sorter.ts";
import {
  handleDuplex,
  handleServerStream,
  handleUnary,
  type HandlerOptions,
} from "./handle-call.ts";
import { createHealthService } from "./health.ts";
import type { AnyHandler, ImplementedService } from "./implement-service.ts";
import type { LoadedMethod } from "./load-service.ts";
import type { RpcLogger } from "./logger.ts";
import { createReflectionServices } from "./reflection.ts";
import { RequestGate, type RequestLimits } from "./request-gate.ts";
import { DEFAULT_RPC_LIMITS, type RpcLimits } from "./rpc-limits.ts";
import { ServeError } from "./serve-error.ts";
import { gateStreams, refuseCalls } from "./stream-gate.ts";
import { formatTarget, type RpcTarget } from "./target.ts";
import { ALPN, serverContextOptions } from "./tls.ts";
import { listenOnSocket, type SocketAddress } from "./unix-socket.ts";

export interface ServeRpcOptions {
  /** An IP literal and a port (0 picks a free one), or a unix socket. */
  readonly address: { readonly ip: string; readonly port: number } | SocketAddress;
  /** Somebody else listens there, and hands over what he accepts: see `RpcServer.take`. TCP only. */
  readonly isHandedOver?: boolean | undefined;
  /** Made with `implementService`. Health and reflection are added to them. */
  readonly services: readonly ImplementedService[];
  /**
   * With it mutual TLS on TCP: callers must show a certificate of the same authority, and without `plain`, where only
   * our own are expected, one of a node (`d7y`). Unix sockets are always plain.
   */
  readonly tls?: Tls | undefined;
  /** With `tls`: callers without TLS are served on the same port, too. */
  readonly plain?: boolean | undefined;
  /** Takes over connections on this port that speak Vortex without TLS, with none of their bytes read. Absent: they are closed. */
  readonly foreign?: { accept(socket: Socket): void } | undefined;
  readonly logger?: RpcLogger | undefined;
  /** How long running calls may go on once the server closes, in milliseconds; default 5,000. */
  readonly graceMs?: number | undefined;
  /** Over all callers of `services`; health and reflection are free. Absent: none. */
  readonly requestLimits?: RequestLimits | undefined;
  /** Over `DEFAULT_RPC_LIMITS`. */
  readonly limits?: Partial<RpcLimits> | undefined;
  /** Over the defaults: 8 MiB a message, a ping every five minutes on an idle connection. */
  readonly channelOptions?: ChannelOptions | undefined;
  /** For dates in certificates: milliseconds since 1970; default the system's clock. */
  readonly now?: (() => number) | undefined;
}

/** Disposing it refuses new calls, lets running ones finish for `graceMs`, then cuts what is left. Idempotent. */
export interface RpcServer extends AsyncDisposable {
  /** Where it really listens. */
  readonly address: RpcTarget;
  /** Takes over a connection of which nothing has been read, as if it had been accepted here. */
  take(socket: Socket): void;
  /** Closes at once and without a farewell: callers see their connections break. */
  abort(): Promise<void>;
}

/** @throws {ServeError} when it cannot listen there */
export async function serveRpc(options: ServeRpcOptions): Promise<RpcServer> {
  const { address, services, logger, graceMs = 5_000, requestLimits } = options;
  const limits = limitsOf(options);
  const gate = requestLimits && new RequestGate(requestLimits);
  const closing = new AbortController();
  setMaxListeners(0, closing.signal); // every call may wait for it
  const server = new Server({
    ...defaultServerOptions,
    "grpc.max_receive_message_length": limits.messageLengthMax,
    ...options.channelOptions,
  });
  const names = services.map(({ service }) => service.name);
  const health = createHealthService(names, closing.signal);
  const reflection = createReflectionServices([...services, health].map(({ service }) => service));
  const all = [...services, health, ...reflection];
  for (const implemented of all) {
    const { service, handlers, sendTimeoutsMs } = implemented;
    const implementation: UntypedServiceImplementation = {};
    for (const [name, method] of service.methods) {
      const handler = handlers.get(name);
      if (handler === undefined) continue;
      implementation[name] = adapt(handler, method, {
        method: method.path.slice(1),
        closing: closing.signal,
        logger,
        sendTimeoutMs: sendTimeoutsMs.get(name),
        gate: services.includes(implemented) ? gate : undefined,
      });
    }
    server.addService(service.definition, implementation);
  }

  const arrivals = new Arrivals(limits);
  const acceptor = openAcceptor(server, options, limits);
  arrivals.onReady = waysInto(server, options, {
    acceptor,
    release: (socket) => arrivals.release(socket),
  });
  const streamGate = gateStreams(server, {
    limits,
    isStreaming: streamingPaths(all),
    onSession: (session) => arrivals.begun(session),
  });
  const listener = await listen(options, arrivals);

  let closed: Promise<void> | undefined;
  const end = (ms: number): Promise<void> => {
    closing.abort();
    closed ??= close(server, listener, ms).finally(() => {
      streamGate[Symbol.dispose]();
      acceptor?.[Symbol.dispose]();
    });
    return closed;
  };
  return {
    address: boundAddress(listener, address),
    take: (socket) => {
      if (closing.signal.aborted || arrivals.sockets.size >= arrivals.countMax) {
        socket.destroy();
        return;
      }
      socket.setNoDelay(true);
      arrivals.accept(socket);
    },
    abort: async () => {
      for (const socket of arrivals.sockets) socket.destroy();
      await end(0);
    },
    [Symbol.asyncDispose]: () => end(graceMs),
  };
}

/** On a unix socket all callers come from one place, which says nothing of how many they are. */
function limitsOf({ address, limits }: ServeRpcOptions): RpcLimits {
  const all = { ...DEFAULT_RPC_LIMITS, ...limits };
  if ("ip" in address) return all;
  const [connectionsPerAddressMax, callsPerAddressMax] = [all.connectionCountMax, all.callCountMax];
  const connectionsPerSecondMax = Number.MAX_SAFE_INTEGER;
  return { ...all, connectionsPerAddressMax, callsPerAddressMax, connectionsPerSecondMax };
}

/** Whether callers send several messages at a path. */
function streamingPaths(services: readonly ImplementedService[]): (path: string) => boolean {
  const paths = new Set<string>();
  for (const { service } of services) {
    for (const { path, requestStream } of service.methods.values()) {
      if (requestStream) paths.add(path);
    }
  }
  return (path) => paths.has(path);
}

const defaultServerOptions: ChannelOptions = {
  // As Dragonfly's daemons: a caller that vanished is noticed within 320 s.
  "grpc.keepalive_time_ms": 300_000,
  "grpc.keepalive_timeout_ms": 20_000,
  "grpc.max_send_message_length": 8 << 20,
  "grpc.enable_channelz": 0,
  // Calls at once on one connection; what goes beyond waits at the caller.
  "grpc.max_concurrent_streams": 1_000,
};

/** @throws {Error} Node's, if the identity cannot be used */
function openAcceptor(
  server: Server,
  { address, tls, plain = tls === undefined, logger, now }: ServeRpcOptions,
  { halfOpenMs }: RpcLimits,
): TlsAcceptor | undefined {
  if (tls === undefined || "socketPath" in address) return undefined;
  // Its TLS is done by then: what grpc-js takes in is plain to it, and it still finds the certificate.
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  return new TlsAcceptor({
    tls: toTlsSource(tls),
    toContext: serverContextOptions,
    alpn: ALPN,
    callerNames: plain ? undefined : [NODE_CERTIFICATE_NAME],
    handshakeMs: halfOpenMs,
    onSecure: (socket) => injector.injectConnection(socket),
    onMisnamed: (socket, { reason }) => {
      refuseCalls(socket, `Cannot serve this peer: ${reason}`);
      injector.injectConnection(socket);
    },
    logger,
    now,
  });
}

/**
 * Takes connections into the server: those on a unix socket as they are, others by their first bytes.
 *
 * @param ways.acceptor takes those with TLS
 * @param ways.release is told of a connection that is somebody else's from now on
 */
function waysInto(
  server: Server,
  options: ServeRpcOptions,
  ways: {
    readonly acceptor: TlsAcceptor | undefined;
    readonly release: (socket: Socket) => void;
  },
): (socket: Socket) => void {
  const { address, tls, plain = tls === undefined, foreign } = options;
  const { acceptor, release } = ways;
  const plainWay = (): ((socket: Socket) => void) => {
    const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
    return (socket) => injector.injectConnection(socket);
  };
  if ("socketPath" in address) return plainWay();
  const handOver = (socket: Socket): void => {
    // Dragonfly's older children say that no request will follow, and still want the rest of the answer.
    socket.allowHalfOpen = true;
    release(socket);
    foreign?.accept(socket);
  };
  const sorter = new ConnectionSorter({
    takers: {
      ...(acceptor === undefined ? {} : { tls: (socket) => acceptor.accept(socket) }),
      ...(plain ? { http2: plainWay() } : {}),
      ...(foreign === undefined ? {} : { vortex: handOver }),
    },
    logger: options.logger,
  });
  return (socket) => sorter.accept(socket);
}

function adapt(
  handler: AnyHandler,
  method: LoadedMethod,
  options: HandlerOptions,
): UntypedHandleCall {
  const { requestStream, responseStream } = method;
  // oxlint-disable typescript/no-unsafe-type-assertion -- the handler's type is generated from the same definition
  if (requestStream) return handleDuplex(handler as Parameters<typeof handleDuplex>[0], options);
  if (responseStream) {
    return handleServerStream(handler as Parameters<typeof handleServerStream>[0], options);
  }
  return handleUnary(handler as Parameters<typeof handleUnary>[0], options);
  // oxlint-enable typescript/no-unsafe-type-assertion
}

interface Listener {
  readonly server: NetServer;
  readonly arrivals: Arrivals;
  /** Takes away what listening has left in the file system. */
  readonly clean: () => Promise<void>;
}

async function listen(
  { address, isHandedOver = false, logger }: ServeRpcOptions,
  arrivals: Arrivals,
): Promise<Listener> {
  // Not half-open: of a caller that was killed nothing comes but the end of its bytes, and its calls must end then.
  const server = createServer({ noDelay: true }, (socket) => arrivals.accept(socket));
  server.maxConnections = arrivals.countMax;
  const clean = async (): Promise<void> => {};
  if (isHandedOver) return { server, arrivals, clean };
  try {
    if ("socketPath" in address) {
      return { server, arrivals, clean: await listenOnSocket(server, address, logger) };
    }
    server.listen({ host: address.ip, port: address.port });
    await once(server, "listening");
    return { server, arrivals, clean };
  } catch (error) {
    server.close();
    throw error instanceof ServeError ? error : listenError(address, error);
  }
}

function listenError(address: RpcTarget, cause: unknown): ServeError {
  const isInUse = cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE";
  const reason = cause instanceof Error ? cause.message : String(cause);
  return isInUse
    ? new ServeError(
        "ERR_ADDRESS_IN_USE",
        `Cannot serve at ${formatTarget(address)}: another process is serving there`,
        { cause },
      )
    : new ServeError("ERR_LISTEN_FAILED", `Cannot serve at ${formatTarget(address)}: ${reason}`, {
        cause,
      });
}

/** Resolves when the calls that run have ended, and takes no others. */
async function finish(server: Server, { sessions }: Arrivals): Promise<void> {
  await new Promise((resolve) => server.tryShutdown(resolve));
  // From Node 24 on the HTTP/2 server closes its sessions itself when it is closed, and grpc-js 1.14 takes one that is closing for closed.
  await Promise.all(
    [...sessions].map((session) => new Promise((resolve) => session.once("close", resolve))),
  );
}

function boundAddress({ server }: Listener, asked: RpcTarget): RpcTarget {
  const bound = server.address();
  if ("socketPath" in asked || bound === null || typeof bound === "string") return asked;
  return { ip: bound.address, port: bound.port };
}

async function close(server: Server, listener: Listener, graceMs: number): Promise<void> {
  // While it still listens: nobody takes its place by now.
  await listener.clean();
  if (listener.server.listening) listener.server.close();
  let timer: NodeJS.Timeout | undefined;
  const finished = finish(server, listener.arrivals);
  const graceOver = new Promise((resolve) => {
    timer = setTimeout(resolve, graceMs);
  });
  await Promise.race([finished, graceOver]);
  clearTimeout(timer);
  server.forceShutdown();
  // Those that never got as far as HTTP/2. The server's own "close" would wait for connections that are somebody else's now.
  const { sockets } = listener.arrivals;
  const ends = [...sockets].map((socket) => once(socket, "close"));
  for (const socket of sockets) socket.destroy();
  await Promise.all(ends);
}
