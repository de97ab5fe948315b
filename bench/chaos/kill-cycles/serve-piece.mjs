// Asks a daemon for a file that it has, until it gives a piece of it.
import { setTimeout as pause } from "node:timers/promises";
import { createDfdaemonDownloadClient } from "@damselfly/rpc";
import { DEFAULT_FILTERED_QUERY_PARAMS } from "../../../packages/dfget/dist/flags.js";

const LOOK_EVERY_MS = 10;
const ANSWER_MS_MAX = 10_000;

/** Resolves with the content of the first piece that it gives, as soon as it does, or with undefined once `isGone()`. */
export async function untilPieceServed({ socketPath, url, isGone }) {
  while (!isGone()) {
    const content = await askForPiece(socketPath, url).catch(() => undefined); // Not yet: asked again.
    if (content !== undefined) return content;
    await pause(LOOK_EVERY_MS);
  }
  return undefined;
}

async function askForPiece(socketPath, url) {
  const client = createDfdaemonDownloadClient({ socketPath });
  try {
    const filteredQueryParams = [...DEFAULT_FILTERED_QUERY_PARAMS];
    const download = { url, type: "STANDARD", needPieceContent: true, filteredQueryParams };
    const call = client.downloadTask({ download }, { timeoutMs: ANSWER_MS_MAX });
    for await (const { downloadPieceFinishedResponse } of call) {
      const content = downloadPieceFinishedResponse?.piece?.content;
      if (content?.byteLength > 0) return content;
    }
    return undefined;
  } finally {
    await client[Symbol.asyncDispose]();
  }
}
