import {
  Metadata,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type handleBidiStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
} from "@grpc/grpc-js";
import type { EventEmitter } from "node:events";
import { isIP } from "node:net";
import { setImmediate } from "node:timers/promises";
import type { CallContext, MethodHandler } from "./implement-service.ts";
import type { RpcLogger } from "./logger.ts";
import { MessageSender } from "./message-sender.ts";
import type { DuplexMethod, ServerStreamMethod, UnaryMethod } from "./method.ts";
import type { RequestGate } from "./request-gate.ts";
import { RpcError, toStatusObject } from "./rpc-error.ts";

/*
 * grpc-js handlers made of ours. Whatever ours does, the call gets exactly one status and no promise is left behind.
 */

export interface HandlerOptions {
  /** For messages: `dfdaemon.v2.DfdaemonUpload/StatTask`. */
  readonly method: string;
  readonly closing: AbortSignal;
  readonly logger: RpcLogger | undefined;
  /** Of a server stream: how long the caller may take to take a message; absent: as long as it likes. */
  readonly sendTimeoutMs?: number | undefined;
  /** Lets the call in. */
  readonly gate?: RequestGate | undefined;
}

export function handleUnary(
  handler: MethodHandler<UnaryMethod<unknown, object, object, unknown>>,
  options: HandlerOptions,
): handleUnaryCall<object, object> {
  return (call, callback) => {
    void answer(call, options, {
      run: async (context) => callback(null, await handler(call.request, context)),
      end: (error) => {
        if (error !== undefined) callback(toStatusObject(error));
      },
    });
  };
}

export function handleServerStream(
  handler: MethodHandler<ServerStreamMethod<unknown, object, object, unknown>>,
  options: HandlerOptions,
): handleServerStreamingCall<object, object> {
  return (call) => {
    void answer(call, options, {
      run: async (context) => {
        if (!LATE_HEADER_METHODS.has(options.method)) call.sendMetadata(new Metadata());
        const sender = new MessageSender(call, context.signal, {
          timeoutMs: options.sendTimeoutMs,
        });
        const emitter: EventEmitter = call;
        emitter.once("cancelled", () => sender.leave());
        const messages = handler(call.request, {
          ...context,
          taken: () => sender.taken(),
          giveUp: (error) => sender.giveUp(error),
        });
        for await (const message of messages) await sender.send(message);
      },
      end: (error) => endStream(call, error),
    });
  };
}

/**
 * Callers that bound the time until the headers (tonic does, at 10 s) must not wait for the first message; but where the first message comes
 * once it is known that the call can be answered at all, a failure before it is better told without any: Dragonfly's dfget takes only that
 * for a refusal.
 */
const LATE_HEADER_METHODS: ReadonlySet<string> = new Set([
  "dfdaemon.v2.DfdaemonDownload/DownloadTask",
  "dfdaemon.v2.DfdaemonUpload/DownloadTask",
]);

export function handleDuplex(
  handler: MethodHandler<DuplexMethod<unknown, object, object, unknown>>,
  options: HandlerOptions,
): handleBidiStreamingCall<object, object> {
  return (call) => {
    void answer(call, options, {
      run: async (context) => {
        call.sendMetadata(new Metadata());
        const sender = new MessageSender(call, context.signal);
        const requests = readRequests(call, context.signal);
        await handler({ ...context, requests, write: (message) => sender.send(message) });
      },
      end: (error) => endStream(call, error),
    });
  };
}

type AnyCall =
  | ServerUnaryCall<object, object>
  | ServerWritableStream<object, object>
  | ServerDuplexStream<object, object>;

/** Never rejects: `end` is called once, with what `run` threw or undefined. */
async function answer(
  call: AnyCall,
  { method, closing, logger, gate }: HandlerOptions,
  {
    run,
    end,
  }: {
    readonly run: (context: CallContext) => Promise<void>;
    readonly end: (error: unknown) => void;
  },
): Promise<void> {
  const emitter: EventEmitter = call;
  const controller = new AbortController();
  const onCancelled = (): void => controller.abort(new RpcError("CANCELLED", "the caller left"));
  emitter.once("cancelled", onCancelled);
  let failure: unknown;
  try {
    const peer = call.getPeer();
    await gate?.enter(controller.signal, ipOf(peer));
    await run({
      signal: controller.signal,
      closing,
      peer,
      peerIp: ipOf(peer),
      userAgent: String(call.metadata.get("user-agent")[0] ?? ""),
      peerCertificate: call.getAuthContext().sslPeerCertificate,
    });
  } catch (error) {
    failure = error ?? new Error("a handler threw nothing");
    const isExpected = error instanceof RpcError || controller.signal.aborted;
    if (!isExpected) logger?.error({ err: error, method, peer: call.getPeer() }, "handler failed");
  }
  // grpc-js says "cancelled" also when a call has ended well.
  emitter.off("cancelled", onCancelled);
  end(failure);
}

/** What stands before the last colon is an address, or `unknown`, which has none. */
function ipOf(peer: string): string {
  const ip = peer.slice(0, Math.max(0, peer.lastIndexOf(":")));
  return isIP(ip) === 0 ? "" : ip;
}

function endStream(
  call: ServerWritableStream<object, object> | ServerDuplexStream<object, object>,
  error: unknown,
): void {
  if (call.destroyed || call.writableEnded) return;
  if (error === undefined) call.end();
  else call.emit("error", toStatusObject(error)); // how grpc-js is told the status of a stream
}

async function* readRequests(
  call: ServerDuplexStream<object, object>,
  signal: AbortSignal,
): AsyncGenerator<object, void, undefined> {
  try {
    // Leaving this loop must not destroy the other direction.
    const requests: AsyncIterable<object> = call.iterator({ destroyOnReturn: false });
    yield* requests;
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
  // A call that is reset looks ended first: what tells the two apart comes in the same turn of the event loop.
  await setImmediate();
  signal.throwIfAborted();
}
