// Faults of those outside of the cluster, or among it with other things in mind: the origin, a liar, an operator.
import { createDfdaemonDownloadClient, RpcError } from "@damselfly/rpc";
import { computeTaskId } from "../../../packages/dfdaemon/dist/identity/task-id.js";
import { contentVersion } from "../../../packages/dfdaemon/dist/origins/content-version.js";
import { validatorsOf } from "../origin/validators.mjs";
import { pickOne } from "./find-stored.mjs";

const DELETE_MS_MAX = 5_000;

export const outsideFaults = {
  async "origin-error"({ id, how, target, isEverywhere, retryAfterSeconds, durationMs }, context) {
    const { origin, clock } = context;
    const where = isEverywhere ? {} : { name: target };
    await origin.tell({ fault: { id, how, retryAfterSeconds, ...where } });
    await clock.pass(durationMs);
    await origin.tell({ heal: id });
    return isEverywhere ? "everywhere" : target;
  },
  async lie({ id, how, target, durationMs }, { origin, liar, files, clock }) {
    const file = files.get(target);
    // It may know of the file before anybody else does.
    const version = Math.max(0, file.version);
    const { length } = file.content(version);
    const url = origin.urlOf(target);
    const header = validatorsOf(file.spec, version);
    const before = liar.askedCount();
    await liar.tell({
      lie: {
        id,
        how,
        url,
        taskId: computeTaskId({ url }),
        file: target,
        version,
        length,
        contentVersion: contentVersion({
          contentLength: length,
          etag: header.etag ?? "",
          lastModified: header["last-modified"] ?? "",
        }),
      },
    });
    await clock.pass(durationMs);
    await liar.tell({ truth: id });
    return `lied to ${liar.askedCount() - before} times`;
  },
  async "delete-task"({ target, pick }, { nodeOf, files, origin }) {
    const file = pickOne([...files.values()], pick);
    const taskId = computeTaskId({ url: origin.urlOf(file.name) });
    return `${file.name}: ${await deleteTask(nodeOf(target).socketPath, taskId)}`;
  },
};

/** @returns `deleted`, `not there`, or why it could not be told */
export async function deleteTask(socketPath, taskId) {
  const client = createDfdaemonDownloadClient({ socketPath });
  try {
    await client.deleteLocalTask({ taskId }, { timeoutMs: DELETE_MS_MAX });
    return "deleted";
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    return error.code === "NOT_FOUND" ? "not there" : error.message;
  } finally {
    await client[Symbol.asyncDispose]();
  }
}
