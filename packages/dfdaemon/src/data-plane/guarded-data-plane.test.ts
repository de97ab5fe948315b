import type { ContentSender } from "@damselfly/storage";
import { describe, expect, it } from "vitest";
import { OriginError } from "../origins/origin-error.ts";
import { OriginGuard } from "../origins/origin-guard.ts";
import type { OriginStat } from "../origins/origin.ts";
import { collect } from "../testing/origin-fixture.ts";
import type { ContentSlice } from "./content-stream.ts";
import type { DataPlane, OriginRead } from "./data-plane.ts";
import { guardDataPlane } from "./guarded-data-plane.ts";

const request = { url: "http://origin.test/file", header: {} };
const cut = (): OriginError => new OriginError("ERR_ORIGIN_TRUNCATED", "Cannot read: cut");
const STAT: OriginStat = {
  contentLength: 4,
  etag: '"1"',
  lastModified: "",
  contentVersion: "1",
  rangeable: true,
  responseHeader: {},
  statusCode: 200,
  digests: [],
};

/** A data plane that reads what it is told to, and remembers what it was asked. */
function planeOf(
  content: () => ContentSlice["content"],
  stat: Partial<OriginStat> = {},
): { readonly dataPlane: DataPlane; readonly guard: OriginGuard; readonly reads: OriginRead[] } {
  const reads: OriginRead[] = [];
  const inner: Pick<DataPlane, "readOrigin" | "storage"> = {
    // oxlint-disable-next-line no-unsafe-type-assertion -- nobody stores anything here
    storage: undefined as unknown as DataPlane["storage"],
    async readOrigin(read) {
      reads.push(read);
      return {
        stat: { ...STAT, ...stat },
        next: () => ({ content: content(), rest: async () => {} }),
        all: () => ({ content: content(), rest: async () => {} }),
        end: async () => {},
        async [Symbol.asyncDispose]() {},
      };
    },
  };
  const guard = new OriginGuard({ limits: { maxRetries: 0 } });
  // oxlint-disable-next-line no-unsafe-type-assertion -- nothing else is asked of it
  return { dataPlane: guardDataPlane(inner as DataPlane, guard), guard, reads };
}

async function* bytes(error?: Error): AsyncGenerator<Uint8Array> {
  yield Buffer.from("good");
  if (error !== undefined) throw error;
}

const senderOf = (failure?: Error): ContentSender => ({
  async sendTo() {
    if (failure !== undefined) throw failure;
    return [];
  },
  async close() {},
});
const TARGET = { path: "", ino: 0n, offset: 0, length: 4, algorithms: [], action: "" };
const SIGNAL = { signal: new AbortController().signal };

async function take({ content }: ContentSlice): Promise<void> {
  if ("sendTo" in content) await content.sendTo(TARGET, SIGNAL);
  else await collect(content);
}

describe("guardDataPlane", () => {
  it.each<[string, (error?: Error) => ContentSlice["content"]]>([
    ["bytes pass through this process", bytes],
    ["another process has them", senderOf],
  ])("hears how a body ends when %s", async (_where, create) => {
    let error: Error | undefined = cut();
    const { dataPlane, guard } = planeOf(() => create(error));
    const read = async (): Promise<void> => {
      await using body = await dataPlane.readOrigin({ request });
      await take(body.all());
    };
    const failing = (): number => guard.report().hosts[0]?.failingFileCount ?? 0;
    await expect(read()).rejects.toBe(error);
    expect(failing()).toBe(1);
    expect(guard.report().hosts).toMatchObject([{ state: "closed", faultCount: 1 }]);
    // What is wrong here is not the origin's fault.
    error = new Error("the disk is full");
    await expect(read()).rejects.toBe(error);
    expect(failing()).toBe(1);
    error = undefined;
    await read();
    expect(failing()).toBe(0);
  });

  it("learns nothing from a body that nobody reads to its end", async () => {
    let error: Error | undefined = cut();
    const { dataPlane, guard } = planeOf(() => bytes(error));
    const failed = await dataPlane.readOrigin({ request });
    await expect(take(failed.next(4))).rejects.toBe(error);
    await failed[Symbol.asyncDispose]();
    error = undefined;
    const left = await dataPlane.readOrigin({ request });
    await left[Symbol.asyncDispose]();
    expect(guard.report().hosts).toMatchObject([{ failingFileCount: 1 }]);
  });

  it("begins where an earlier part was found", async () => {
    const target = { url: "http://mirror.test/file", header: {} };
    const { dataPlane, reads } = planeOf(() => bytes(), { target });
    for (let count = 0; count < 2; count += 1) {
      await using body = await dataPlane.readOrigin({ request });
      await body.end();
    }
    expect(reads.map((read) => read.target)).toEqual([undefined, target]);
  });
});
