import type { PieceRecord, StoredTask } from "@damselfly/storage";
import { describe, expect, it } from "vitest";
import { deliver } from "./deliver.ts";
import type { DownloadRequest } from "./download-request.ts";

const DIGEST = "sha256:good";

/** A task of three pieces whose digest is wrong, of which some turn out to be damaged on the disk. */
function open({ damaged = [], parentId = "" }: { damaged?: number[]; parentId?: string } = {}) {
  const deleted: string[] = [];
  const pieces = new Map<number, Pick<PieceRecord, "parentId">>(
    [0, 1, 2].map((number) => [number, { parentId }]),
  );
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as much of a task as is looked at
  const task = {
    facts: { taskId: "t" },
    pieces,
    digest: async () => "sha256:bad",
    verify: async () => {
      for (const number of damaged) pieces.delete(number);
      return damaged;
    },
  } as unknown as StoredTask;
  const run = async (request: Partial<DownloadRequest> = {}): Promise<void> => {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as much of a request as is looked at
    const asked = { digest: DIGEST, ...request } as DownloadRequest;
    await deliver(asked, {
      task,
      range: undefined,
      storage: { deleteTask: async (taskId) => deleted.push(taskId) > 0 },
      sinceMs: 0,
      signal: new AbortController().signal,
    });
  };
  return { run, deleted };
}

describe("deliver, where the digest that the caller named is another one,", () => {
  it.each([{}, { needBackToSource: true }, { disableBackToSource: true }])(
    "has what the disk has damaged fetched again, and keeps the rest (%o)",
    async (request) => {
      const { run, deleted } = open({ damaged: [1], parentId: "a" });
      await expect(run(request)).rejects.toMatchObject({
        code: "ERR_PIECE_MISSING",
        message: expect.stringContaining("piece 1"),
      });
      expect(deleted).toEqual([]);
    },
  );

  it("removes what peers gave, where every piece is as it came", async () => {
    const { run, deleted } = open({ parentId: "a" });
    await expect(run()).rejects.toMatchObject({ cause: { code: "ERR_DIGEST_MISMATCH" } });
    expect(deleted).toEqual(["t"]);
  });

  it("says so where the origin alone can have been wrong", async () => {
    const { run, deleted } = open();
    await expect(run()).rejects.toMatchObject({ code: "ERR_DIGEST_MISMATCH" });
    expect(deleted).toEqual([]);
  });
});
