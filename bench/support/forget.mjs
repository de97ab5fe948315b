import { createDfdaemonDownloadClient } from "@damselfly/rpc";

/** Lets a daemon drop a task, so that it must fetch the file again. */
export async function forget({ socketPath }, taskId) {
  const client = createDfdaemonDownloadClient({ socketPath });
  try {
    await client.deleteLocalTask({ taskId });
  } finally {
    await client[Symbol.asyncDispose]();
  }
}
