import {
  loadService,
  type LoadedService,
  type ServiceName,
  type Services,
} from "./load-service.ts";
import type { DuplexMethod, ServerStreamMethod, UnaryMethod } from "./method.ts";
import type { PeerCertificate } from "node:tls";
import { status } from "./rpc-error.ts";

/** What a handler knows about the call it answers. */
export interface CallContext {
  /** Aborts when the caller has left, its deadline has passed, or the server stops at once. */
  readonly signal: AbortSignal;
  /** Aborts when the server begins to close: a stream without an end of its own ends itself then. */
  readonly closing: AbortSignal;
  /** The caller's `ip:port`; for messages only. Of a unix socket nothing is known. */
  readonly peer: string;
  /** The caller's address alone; empty on a unix socket. */
  readonly peerIp: string;
  /** What the caller says it is: `tonic/0.14.2`; empty when it says nothing. */
  readonly userAgent: string;
  /** The caller's certificate, checked against our authority; undefined without TLS. */
  readonly peerCertificate: PeerCertificate | undefined;
}

/** The serving side of a call that is answered with a stream. */
export interface StreamContext extends CallContext {
  /** Resolves when the caller has taken all that was sent, or has left. It may be asked for after the end, too. */
  readonly taken: () => Promise<void>;
  /** Ends the call with this error, though the caller takes nothing of what it is sent. */
  readonly giveUp: (error: Error) => void;
}

/** The serving side of a call on which both sides send. The call ends well when the handler's promise resolves. */
export interface DuplexCall<Request, Response> extends CallContext {
  /** What the caller sends, until it says that no more is coming. Can be iterated once. */
  readonly requests: AsyncIterable<Request>;
  /** Resolves when the next message may be sent. @throws the signal's reason when the caller has left */
  readonly write: (message: Response) => Promise<void>;
}

/**
 * How one method is answered. Throw `status(…)` to answer with a status; any other error is `INTERNAL` with its
 * message, and is logged.
 */
export type MethodHandler<M> =
  M extends UnaryMethod<unknown, infer Request, infer Response, unknown>
    ? (request: Request, context: CallContext) => Promise<Response>
    : M extends ServerStreamMethod<unknown, infer Request, infer Response, unknown>
      ? /** Pulled no faster than the caller takes; left early when it leaves. Wait with `context.signal`. */
        (request: Request, context: StreamContext) => AsyncIterable<Response>
      : M extends DuplexMethod<unknown, infer Request, infer Response, unknown>
        ? (call: DuplexCall<Request, Response>) => Promise<void>
        : never;

/** A method without a handler is answered `UNIMPLEMENTED`. */
export type ServiceImplementation<Methods> = {
  readonly [Name in keyof Methods]?: MethodHandler<Methods[Name]>;
};

/** A service and its handlers, ready for `serveRpc`. */
export interface ImplementedService {
  readonly service: LoadedService;
  readonly handlers: ReadonlyMap<string, AnyHandler>;
  /** By method: how long a caller may take to take one message of a server stream. Milliseconds. */
  readonly sendTimeoutsMs: ReadonlyMap<string, number>;
}

/** Any of the three, told apart by the method's definition. */
export type AnyHandler =
  | MethodHandler<UnaryMethod<unknown, object, object, unknown>>
  | MethodHandler<ServerStreamMethod<unknown, object, object, unknown>>
  | MethodHandler<DuplexMethod<unknown, object, object, unknown>>;

/**
 * Methods are called on `implementation`, so it may be an object of a class.
 *
 * @param options.serializers take the place of protobufjs for a method's responses, by the method's name
 * @param options.sendTimeoutsMs of server streams: a caller that takes no message for so long is answered `DEADLINE_EXCEEDED`
 * @param options.unserved why methods without a handler have none, for their `UNIMPLEMENTED`
 */
export function implementService<Name extends ServiceName>(
  name: Name,
  implementation: ServiceImplementation<Services[Name]>,
  options: {
    readonly serializers?: ResponseSerializers<Services[Name]>;
    readonly sendTimeoutsMs?: { readonly [Method in keyof Services[Name]]?: number };
    readonly unserved?: string;
  } = {},
): ImplementedService {
  const { serializers = {}, sendTimeoutsMs = {}, unserved } = options;
  const service = withSerializers(loadService(name), new Map(Object.entries(serializers)));
  const handlers = new Map<string, AnyHandler>();
  for (const [methodName, { path }] of service.methods) {
    const handler: unknown = Reflect.get(implementation, methodName);
    if (isHandler(handler)) handlers.set(methodName, handler.bind(implementation));
    else if (unserved !== undefined) handlers.set(methodName, () => refuse(path, unserved));
  }
  return { service, handlers, sendTimeoutsMs: new Map(Object.entries<number>(sendTimeoutsMs)) };
}

function refuse(path: string, reason: string): never {
  throw status("UNIMPLEMENTED", `Cannot answer ${path.slice(1)}: ${reason}`);
}

/** Makes grpc-js's bytes of a response; `serialize` is what protobufjs would make. */
export type ResponseSerializer<Response> = (
  response: Response,
  serialize: (response: Response) => Buffer,
) => Buffer;

export type ResponseSerializers<Methods> = {
  readonly [Name in keyof Methods]?: Methods[Name] extends {
    readonly responseInput: infer Response;
  }
    ? ResponseSerializer<Response>
    : never;
};

function withSerializers(
  service: LoadedService,
  serializers: ReadonlyMap<string, unknown>,
): LoadedService {
  if (serializers.size === 0) return service;
  const definition = Object.entries(service.definition).map(([methodName, method]) => {
    const serializer = serializers.get(method.originalName ?? methodName);
    if (!isSerializer(serializer)) return [methodName, method] as const;
    const { responseSerialize } = method;
    const replaced = (response: object): Buffer => serializer(response, responseSerialize);
    return [methodName, { ...method, responseSerialize: replaced }] as const;
  });
  return { ...service, definition: Object.fromEntries(definition) };
}

function isSerializer(value: unknown): value is ResponseSerializer<object> {
  return typeof value === "function";
}

function isHandler(value: unknown): value is AnyHandler {
  return typeof value === "function";
}
