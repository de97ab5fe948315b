import { beforeAll, expect, it } from "vitest";
import { createDfdaemonDownloadClient, type Download } from "@damselfly/rpc";
import { useFiles } from "./support/files.ts";
import { describeInterop, useMixedCluster } from "./support/interop.ts";
import type { Member } from "./support/their-cluster.ts";

/** What comes after the origin's address, and what else makes another task. */
const REQUESTS: Readonly<
  Record<string, readonly [suffix: string, download: Omit<Download, "url">]>
> = {
  "a plain URL": ["", {}],
  "a tag": ["", { tag: "tag" }],
  "an application": ["", { application: "application" }],
  "a tag and an application, both empty": ["", { tag: "", application: "" }],
  "a piece length": ["", { pieceLength: 8 * 2 ** 20 }],
  "all of them": ["", { tag: "a", application: "b", pieceLength: 16 * 2 ** 20 }],
  "a text in place of the URL": ["", { contentForCalculatingTaskId: "any text" }],
  "a query": ["?b=2&a=1", {}],
  "a query, filtered": ["?b=2&a=1&c", { filteredQueryParams: ["b"] }],
  "a query with nothing left": ["?b=2", { filteredQueryParams: ["b"] }],
  "a query with odd characters": ["?k=a%20b&m=x*y&n=c~d&o=%C3%A4", { filteredQueryParams: ["z"] }],
  "a query with the same key twice": ["?k=2&j&k=1&=3&&", { filteredQueryParams: ["z"] }],
  "a path with odd characters": ["/./%7Ea b/(c)'*", { filteredQueryParams: ["z"] }],
  "a fragment": ["?a=1#b", { filteredQueryParams: ["z"] }],
  "another priority, which makes no other task": ["", { priority: 3 }],
  "a digest, which makes no other task": ["", { digest: `sha256:${"0".repeat(64)}` }],
};

describeInterop("a task id", () => {
  const cluster = useMixedCluster("file");
  const files = useFiles();
  let ours: Member;
  let theirs: Member;

  beforeAll(async () => {
    const scheduler = await cluster.startTheirScheduler();
    ours = await cluster.startOurDaemon({ name: "ours" });
    theirs = await cluster.startTheirDaemon({ name: "theirs", schedulers: [scheduler.address] });
  });

  it.each(Object.entries(REQUESTS))("is the same for %s", async (_what, [suffix, download]) => {
    const whole = { url: files.serve(suffix).url, ...download };
    expect(await taskIdAt(ours, whole)).toBe(await taskIdAt(theirs, whole));
  });

  it("is the same for a URL written unlike the standard would", async () => {
    const { url } = files.serve();
    const { host } = new URL(url);
    for (const filteredQueryParams of [[], ["z"]]) {
      const download = {
        url: url.replace(`http://${host}`, `HTTP://u:p@${host}`),
        filteredQueryParams,
      };
      expect(await taskIdAt(ours, download)).toBe(await taskIdAt(theirs, download));
    }
  });
});

/** As the daemon's first word about the download says; what comes then is left. */
async function taskIdAt(member: Member, download: Download & { url: string }): Promise<string> {
  await using client = createDfdaemonDownloadClient({ socketPath: member.socketPath });
  for await (const { taskId } of client.downloadTask({ download })) return taskId;
  throw new Error(`${member.name} said nothing of ${download.url}`);
}
