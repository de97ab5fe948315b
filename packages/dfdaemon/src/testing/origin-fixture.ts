import type { Server } from "node:net";
import {
  openHttpOrigin,
  type HttpOriginLimits,
  type HttpOriginOptions,
  type OriginClock,
} from "../origins/http-origin.ts";
import type { Origin } from "../origins/origin.ts";
import { openOriginServer, type OriginServer, type OriginServerOptions } from "./origin-server.ts";

/** An origin's server, and the client under test in front of it. */
export interface OriginFixture extends AsyncDisposable {
  readonly server: OriginServer;
  readonly origin: Origin;
  /** Every wait that the client has asked its clock for, in milliseconds; none of them was waited. */
  readonly waits: readonly number[];
}

export async function openOriginFixture(
  serverOptions: OriginServerOptions = {},
  originOptions: Partial<HttpOriginOptions> & { readonly limits?: Partial<HttpOriginLimits> } = {},
): Promise<OriginFixture> {
  const waits: number[] = [];
  const server = await openOriginServer(serverOptions);
  const origin = openHttpOrigin({
    userAgent: "damselfly/test",
    clock: countingClock(waits),
    ...originOptions,
  });
  return {
    server,
    origin,
    waits,
    async [Symbol.asyncDispose]() {
      await origin[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** Time that passes only by waiting, at once. */
function countingClock(waits: number[]): OriginClock {
  let now = Date.parse("2026-01-01T00:00:00Z");
  return {
    now: () => now,
    async sleep(ms, signal) {
      signal.throwIfAborted();
      waits.push(ms);
      now += ms;
    },
    random: () => 0,
  };
}

export async function collect(content: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of content) chunks.push(Buffer.from(chunk)); // It is ours only until the next.
  return Buffer.concat(chunks);
}

export function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === "string")
    throw new Error("Cannot tell port: the server does not listen on TCP");
  return address.port;
}
