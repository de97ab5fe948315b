import { NODE_CERTIFICATE_NAME, type Tls, TlsAcceptor, toTlsSource } from "@damselfly/transport";
import {
  Server,
  ServerCredentials,
  type ChannelOptions,
  type UntypedHandleCall,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { once } from "node:events";
import { createServer, type Server as NetServer, type Socket } from "node:net";
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
  /** A TCP connection that has not said what it speaks by then is closed. Milliseconds; default 10,000. */
  readonly firstBytesMs?: number | undefined;
  /** Connections open at once; calls on one more are answered `RESOURCE_EXHAUSTED`. Default 10,000. */
  readonly connectionCountMax?: number | undefined;
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
  const { address, services, logger, graceMs = 5_000, connectionCountMax = 10_000 } = options;
  const { requestLimits } = options;
  const gate = requestLimits && new RequestGate(requestLimits);
  const closing = new AbortController();
  const server = new Server({ ...defaultServerOptions, ...options.channelOptions });
  const names = services.map(({ service }) => service.name);
  const health = createHealthService(names, closing.signal);
  const reflection = createReflectionServices([...services, health].map(({ service }) => service));
  for (const implemented of [...services, health, ...reflection]) {
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

  const sockets = new Set<Socket>();
  const acceptor = openAcceptor(server, options);
  const accept = waysInto(server, options, {
    acceptor,
    release: (socket) => void sockets.delete(socket),
  });
  gateStreams(server, { connectionCountMax });
  const listener = await listen(options, { sockets, connectionCountMax, accept });
  const end = async (ms: number): Promise<void> => {
    await close(server, listener, ms);
    acceptor?.[Symbol.dispose]();
  };

  let closed: Promise<void> | undefined;
  return {
    address: boundAddress(listener, address),
    take: (socket) => {
      if (closing.signal.aborted) socket.destroy();
      else listener.take(socket);
    },
    abort: async () => {
      for (const socket of listener.sockets) socket.destroy();
      closing.abort();
      closed ??= end(0);
      await closed;
    },
    [Symbol.asyncDispose]: () => {
      closing.abort();
      closed ??= end(graceMs);
      return closed;
    },
  };
}

const defaultServerOptions: ChannelOptions = {
  // As Dragonfly's daemons: a caller that vanished is noticed within 320 s.
  "grpc.keepalive_time_ms": 300_000,
  "grpc.keepalive_timeout_ms": 20_000,
  "grpc.max_receive_message_length": 8 << 20,
  "grpc.max_send_message_length": 8 << 20,
  "grpc.enable_channelz": 0,
  // Calls at once on one connection; what goes beyond waits at the caller.
  "grpc.max_concurrent_streams": 1_000,
};

/** A caller that wants TLS has this long for the handshake. Milliseconds. */
const HANDSHAKE_MS = 10_000;

/** @throws {Error} Node's, if the identity cannot be used */
function openAcceptor(
  server: Server,
  { address, tls, plain = tls === undefined, logger, now }: ServeRpcOptions,
): TlsAcceptor | undefined {
  if (tls === undefined || "socketPath" in address) return undefined;
  // Its TLS is done by then: what grpc-js takes in is plain to it, and it still finds the certificate.
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  return new TlsAcceptor({
    tls: toTlsSource(tls),
    toContext: serverContextOptions,
    alpn: ALPN,
    callerNames: plain ? undefined : [NODE_CERTIFICATE_NAME],
    handshakeMs: HANDSHAKE_MS,
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
  const { address, tls, plain = tls === undefined, foreign, firstBytesMs = 10_000 } = options;
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
    firstBytesMs,
    undecidedCountMax: UNDECIDED_COUNT_MAX,
    logger: options.logger,
  });
  return (socket) => sorter.accept(socket);
}

const UNDECIDED_COUNT_MAX = 1_000;

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

/** A listening socket and the connections it has accepted, less those that somebody else took over. */
interface Listener {
  readonly server: NetServer;
  readonly sockets: ReadonlySet<Socket>;
  /** Takes in a connection that was accepted elsewhere. */
  take(socket: Socket): void;
  /** Takes away what listening has left in the file system. */
  readonly clean: () => Promise<void>;
}

async function listen(
  { address, isHandedOver = false, logger }: ServeRpcOptions,
  options: {
    readonly sockets: Set<Socket>;
    readonly connectionCountMax: number;
    readonly accept: (socket: Socket) => void;
  },
): Promise<Listener> {
  const { sockets, connectionCountMax, accept } = options;
  // Not half-open: of a caller that was killed nothing comes but the end of its bytes, and its calls must end then.
  const admit = (socket: Socket): void => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.on("error", () => {}); // a connection that breaks ends its calls; there is no more to say
    accept(socket);
  };
  // Beyond the limit calls are answered; far beyond it not even that.
  const socketCountMax = connectionCountMax + REFUSABLE_CONNECTION_COUNT_MAX;
  const take = (socket: Socket): void => {
    socket.setNoDelay(true);
    if (sockets.size < socketCountMax) admit(socket);
    else socket.destroy();
  };
  const server = createServer({ noDelay: true }, admit);
  server.maxConnections = socketCountMax;
  const clean = async (): Promise<void> => {};
  if (isHandedOver) return { server, sockets, take, clean };
  try {
    if ("socketPath" in address) {
      return { server, sockets, take, clean: await listenOnSocket(server, address, logger) };
    }
    server.listen({ host: address.ip, port: address.port });
    await once(server, "listening");
    return { server, sockets, take, clean };
  } catch (error) {
    server.close();
    throw error instanceof ServeError ? error : listenError(address, error);
  }
}

const REFUSABLE_CONNECTION_COUNT_MAX = 100;

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
  const finished = new Promise((resolve) => server.tryShutdown(resolve));
  const graceOver = new Promise((resolve) => {
    timer = setTimeout(resolve, graceMs);
  });
  await Promise.race([finished, graceOver]);
  clearTimeout(timer);
  server.forceShutdown();
  // Those that never got as far as HTTP/2. The server's own "close" would wait for connections that are somebody else's now.
  const ends = [...listener.sockets].map((socket) => once(socket, "close"));
  for (const socket of listener.sockets) socket.destroy();
  await Promise.all(ends);
}
