import type { Socket } from "node:net";
import type { OriginServer } from "./origin-server.ts";

/** A file that arrives only in part, so that there is a "half-way" that does not depend on how fast anything is. */
export interface HeldFile {
  readonly path: string;
  readonly url: string;
  /** Resolves when all who wait for the rest at this moment have broken off. Call it before killing them. */
  untilGivenUp(): Promise<void>;
  /** From now on the rest is served, too. */
  release: () => void;
}

/** Has `origin` serve so many bytes of `content` at `path`, over all requests, and no more until the file is released. */
export function holdFile(
  origin: OriginServer,
  path: string,
  options: { readonly content: Uint8Array; readonly byteCount: number },
): HeldFile {
  const { content, byteCount } = options;
  const waiting = new Set<Socket>();
  let release = (): void => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  origin.set(path, ({ socket, headers }) => ({
    content,
    beforeChunk: async () => {
      // Who asks for the first byte wants to know what the file is: Dragonfly's daemons do.
      if (origin.bodyBytes(path) < byteCount || headers.range === "bytes=0-0") return;
      waiting.add(socket);
      await released;
    },
  }));
  return {
    path,
    url: `${origin.url}${path}`,
    release,
    async untilGivenUp() {
      for (const socket of Array.from(waiting)) {
        if (!socket.destroyed)
          await new Promise<void>((resolve) => socket.once("close", () => resolve()));
      }
    },
  };
}
