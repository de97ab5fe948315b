import { afterAll, beforeAll } from "vitest";
import { sha256 } from "../../support/daemon.ts";
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
  /** A file under a name of its own. */
  serve(): { readonly path: string; readonly url: string };
  /** As `serve`, of which so many bytes are served before it is held. */
  hold(byteCount: number): HeldFile;
  /** Bytes of body that the origin has sent of it. */
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
    serve() {
      const path = nextPath();
      origin.set(path, { content });
      return { path, url: `${origin.url}${path}` };
    },
    hold: (byteCount) => holdFile(origin, nextPath(), { content, byteCount }),
    servedBytes: (path) => origin.bodyBytes(path),
  };
}
