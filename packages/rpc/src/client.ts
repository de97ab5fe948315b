import { type CertificateChain, type Tls, toTlsSource } from "@damselfly/transport";
import {
  Client,
  credentials,
  Metadata,
  type CallOptions,
  type ChannelOptions,
} from "@grpc/grpc-js";
import { createDuplex, type RpcDuplex } from "./duplex.ts";
import { loadService, type LoadedMethod, type ServiceName, type Services } from "./load-service.ts";
import type { DuplexMethod, ServerStreamMethod, UnaryMethod } from "./method.ts";
import { NodeCredentials } from "./node-credentials.ts";
import { RpcError } from "./rpc-error.ts";
import { channelTarget, formatTarget, type RpcTarget } from "./target.ts";

export interface RpcClientOptions {
  /** With it mutual TLS, without it plain. Unix sockets are always plain. */
  readonly tls?: Tls | undefined;
  /** The host that the server's certificate must name; absent: the IP dialled, or `d7y`. */
  readonly expectedHostname?: string | undefined;
  /** Over those of `defaultChannelOptions`. */
  readonly channelOptions?: ChannelOptions | undefined;
}

export interface RpcCallOptions {
  /** Cancels the call, which then throws the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** For the entire call, in milliseconds, told to the server too; absent: no limit. `DEADLINE_EXCEEDED` when it is over. */
  readonly timeoutMs?: number | undefined;
}

/** One call as a function. All of them throw `RpcError`, or the signal's reason. */
export type ClientMethod<M> =
  M extends UnaryMethod<infer Request, unknown, unknown, infer Response>
    ? (request: Request, options?: RpcCallOptions) => Promise<Response>
    : M extends ServerStreamMethod<infer Request, unknown, unknown, infer Response>
      ? /** The call starts with the first `next()`; leaving the loop cancels it. */
        (request: Request, options?: RpcCallOptions) => AsyncIterable<Response>
      : M extends DuplexMethod<infer Request, unknown, unknown, infer Response>
        ? /** The call starts at once. */
          (options?: RpcCallOptions) => RpcDuplex<Request, Response>
        : never;

/**
 * A service of one server. It connects with the first call, and again when a connection was lost; a call made while
 * there is none and none can be had fails with `UNAVAILABLE`. Disposing ends the connection; running calls fail.
 */
export type RpcClient<Methods> = {
  readonly [Name in keyof Methods]: ClientMethod<Methods[Name]>;
} & RpcConnection;

export interface RpcConnection extends AsyncDisposable {
  /** For messages. */
  readonly target: string;
  /**
   * Connects now.
   *
   * @throws {RpcError} `UNAVAILABLE` when there is no connection after `timeoutMs`
   */
  connect(options: { readonly timeoutMs: number }): Promise<void>;
  /** What the server has shown on the latest connection, leaf first; undefined without TLS, and before there was one. */
  readonly serverCertificates: CertificateChain | undefined;
  /** Lower layer, for what this one has no words for. */
  readonly channel: Client;
}

/**
 * Peers are dialled directly, whatever proxy the environment names; nothing is sent twice behind our back; each client
 * owns its connection, so that disposing it really closes one.
 */
export const defaultChannelOptions: ChannelOptions = {
  "grpc.enable_http_proxy": 0,
  "grpc.enable_retries": 0,
  "grpc.service_config_disable_resolution": 1,
  "grpc.use_local_subchannel_pool": 1,
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 5_000,
  // Go's servers hang up on whoever pings more often than every five minutes.
  "grpc.keepalive_time_ms": 330_000,
  "grpc.keepalive_timeout_ms": 20_000,
  "grpc.enable_channelz": 0,
  // 8 MiB: the piece lists of a task of a million pieces are below it.
  "grpc.max_receive_message_length": 8 << 20,
  "grpc.max_send_message_length": 8 << 20,
};

/** A client of `service`; nothing is dialled yet. */
export function createRpcClient<Name extends ServiceName>(
  service: Name,
  target: RpcTarget,
  options: RpcClientOptions = {},
): RpcClient<Services[Name]> {
  const { tls, expectedHostname, channelOptions } = options;
  const nodeCredentials =
    tls === undefined || !("ip" in target)
      ? undefined
      : new NodeCredentials(toTlsSource(tls), { ip: target.ip, hostname: expectedHostname });
  const client = new Client(
    channelTarget(target),
    nodeCredentials ?? credentials.createInsecure(),
    { ...defaultChannelOptions, ...channelOptions },
  );
  const connection = createConnection(client, formatTarget(target), nodeCredentials);
  const methods = [...loadService(service).methods].map(
    ([name, method]) => [name, createMethod(connection, method)] as const,
  );
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the types are generated from the same files
  return Object.assign(connection, Object.fromEntries(methods)) as unknown as RpcClient<
    Services[Name]
  >;
}

function createConnection(
  client: Client,
  target: string,
  nodeCredentials: NodeCredentials | undefined,
): RpcConnection {
  return {
    target,
    channel: client,
    get serverCertificates() {
      return nodeCredentials?.serverCertificates;
    },
    connect: ({ timeoutMs }) =>
      new Promise((resolve, reject) => {
        client.waitForReady(Date.now() + timeoutMs, (cause) => {
          if (cause === undefined) return resolve();
          const reason = `no connection within ${timeoutMs} ms`;
          return reject(new RpcError("UNAVAILABLE", reason, { target, method: "connect", cause }));
        });
      }),
    [Symbol.asyncDispose]: async () => {
      client.close();
      nodeCredentials?.[Symbol.dispose]();
    },
  };
}

type AnyMethod =
  | ClientMethod<UnaryMethod<object, unknown, unknown, object>>
  | ClientMethod<ServerStreamMethod<object, unknown, unknown, object>>
  | ClientMethod<DuplexMethod<object, unknown, unknown, object>>;

function createMethod(connection: RpcConnection, method: LoadedMethod): AnyMethod {
  if (method.requestStream)
    return (options?: RpcCallOptions) => openDuplex(connection, method, options);
  if (method.responseStream) {
    return (request, options) => callServerStream(connection, method, request, options);
  }
  return (request, options) => callUnary(connection, method, request, options);
}

export async function callUnary(
  { channel, target }: RpcConnection,
  method: LoadedMethod,
  request: object,
  { signal, timeoutMs }: RpcCallOptions = {},
): Promise<object> {
  signal?.throwIfAborted();
  let onAbort: (() => void) | undefined;
  try {
    return await new Promise<object>((resolve, reject) => {
      const call = channel.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        new Metadata(),
        toCallOptions(timeoutMs),
        (error, response) => (response === undefined ? reject(error) : resolve(response)),
      );
      onAbort = () => call.cancel();
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  } catch (error) {
    signal?.throwIfAborted();
    throw RpcError.from(error, { target, method: method.path.slice(1) });
  } finally {
    if (onAbort !== undefined) signal?.removeEventListener("abort", onAbort);
  }
}

async function* callServerStream(
  { channel, target }: RpcConnection,
  method: LoadedMethod,
  request: object,
  { signal, timeoutMs }: RpcCallOptions = {},
): AsyncGenerator<object, void, undefined> {
  signal?.throwIfAborted();
  const call = channel.makeServerStreamRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
    request,
    new Metadata(),
    toCallOptions(timeoutMs),
  );
  const onAbort = (): void => call.cancel();
  signal?.addEventListener("abort", onAbort, { once: true });
  call.on("error", () => {}); // a cancelled call reports itself after the loop was left
  try {
    const messages: AsyncIterable<object> = call;
    yield* messages;
  } catch (error) {
    signal?.throwIfAborted();
    throw RpcError.from(error, { target, method: method.path.slice(1) });
  } finally {
    signal?.removeEventListener("abort", onAbort);
    call.cancel();
  }
}

function openDuplex(
  { channel, target }: RpcConnection,
  method: LoadedMethod,
  { signal, timeoutMs }: RpcCallOptions = {},
): RpcDuplex<object, object> {
  signal?.throwIfAborted();
  const call = channel.makeBidiStreamRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
    new Metadata(),
    toCallOptions(timeoutMs),
  );
  return createDuplex(call, { target, method: method.path.slice(1), signal });
}

function toCallOptions(timeoutMs: number | undefined): CallOptions {
  return timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
}
