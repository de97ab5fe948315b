import { afterAll, beforeAll } from "vitest";
import { sha256, sha256OfFile } from "../../support/daemon.ts";
import { holdFile, type HeldFile } from "../../support/held-file.ts";
import { openOriginServer, seededContent, type OriginServer } from "../../support/origin-server.ts";

export const PIECE_LENGTH = 4 * 2 ** 20;
export const PIECE_COUNT = 7;
/** Bytes. The last piece is short; a file of one piece would never meet Dragonfly's scheduler. */
export const LENGTH = (PIECE_COUNT - 1) * PIECE_LENGTH + 17;

export interface Files {
  /** Of every file here. */
  readonly sha256: string;
  readonly content: Uint8Array;
  /** A file under a name of its own, and this after it. */
  serve(suffix?: string): { readonly path: string; readonly url: string };
  /** As `serve`, of which so many bytes are served before it is held. */
  hold(byteCount: number): HeldFile;
  sha256Of(path: string): Promise<string>;
  /** Bytes of it that the origin has sent, but for single ones: Dragonfly's daemons ask for the first to learn the length. */
  servedBytes(path: string): number;
}

/** An origin for all tests of a file, whose files are all alike but for their names. */
export function useFiles(): Files {
  const content = seededContent(LENGTH, 5);
  let origin: OriginServer;
  let count = 0;
  beforeAll(async () => {
    origin = await openOriginServer();
  });
  afterAll(async () => {
    await origin[Symbol.asyncDispose]();
  });
  const nextPath = (): string => {
    count += 1;
    return `/file-${count}`;
  };
  return {
    sha256: sha256(content),
    content,
    serve(suffix = "") {
      const url = `${origin.url}${nextPath()}${suffix}`;
      const path = new URL(url).pathname;
      origin.set(path, { content });
      return { path, url };
    },
    hold: (byteCount) => holdFile(origin, nextPath(), { content, byteCount }),
    sha256Of: sha256OfFile,
    servedBytes: (path) =>
      origin
        .requestsTo(path)
        .filter(({ bodyBytes }) => bodyBytes > 1)
        .reduce((total, { bodyBytes }) => total + bodyBytes, 0),
  };
}
