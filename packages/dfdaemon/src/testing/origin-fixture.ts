import type { Server } from "node:net";
import { guardOrigin } from "../origins/guarded-origin.ts";
import {
  openHttpOrigin,
  type HttpOriginLimits,
  type HttpOriginOptions,
} from "../origins/http-origin.ts";
import { OriginGuard, type OriginClock, type OriginGuardLimits } from "../origins/origin-guard.ts";
import type { Origin } from "../origins/origin.ts";
import { openOriginServer, type OriginServer, type OriginServerOptions } from "./origin-server.ts";

/** An origin's server, and the guarded client under test in front of it. */
export interface OriginFixture extends AsyncDisposable {
  readonly server: OriginServer;
  readonly origin: Origin;
  readonly guard: OriginGuard;
  /** Every wait that the client has asked its clock for, in milliseconds; none of them was waited. */
  readonly waits: readonly number[];
}

export async function openOriginFixture(
  serverOptions: OriginServerOptions = {},
  originOptions: Partial<HttpOriginOptions> & {
    readonly limits?: Partial<HttpOriginLimits & OriginGuardLimits>;
  } = {},
): Promise<OriginFixture> {
  const waits: number[] = [];
  const server = await openOriginServer(serverOptions);
  const clock = countingClock(waits);
  const { limits = {} } = originOptions;
  const bare = openHttpOrigin({
    userAgent: "damselfly/test",
    now: () => clock.now(),
    ...originOptions,
  });
  const guard = new OriginGuard({ clock, limits });
  const origin = guardOrigin(bare, guard);
  return {
    server,
    origin,
    guard,
    waits,
    async [Symbol.asyncDispose]() {
      await origin[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** Time that passes only by waiting, at once; those who wait at one time wait together. */
function countingClock(waits: number[]): OriginClock {
  let now = Date.parse("2026-01-01T00:00:00Z");
  return {
    now: () => now,
    date: () => now,
    async sleep(ms, signal) {
      signal.throwIfAborted();
      waits.push(ms);
      const untilMs = now + ms;
      await new Promise<void>((resolve) => {
        setImmediate(resolve);
      });
      signal.throwIfAborted();
      now = Math.max(now, untilMs);
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
