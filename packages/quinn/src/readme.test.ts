import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import * as quinn from "./index.ts";
import { UNAVAILABLE } from "./testing/quinn-pair.ts";

describe.skipIf(UNAVAILABLE)("README.md", () => {
  it("has an example that runs", async () => {
    const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
    const example = /```ts\n([\s\S]+?)```/.exec(readme)?.[1] ?? "";
    const body = example.replace(/^import .* from "@damselfly\/quinn";\n/, "");
    const lines: unknown[] = [];
    // oxlint-disable-next-line typescript/no-implied-eval -- the text is our own README
    const run = new Function(
      "quinn",
      "console",
      `const { openQuinnEndpoint } = quinn; return (async () => {${body}})()`,
    );
    await run(quinn, { log: (line: unknown) => lines.push(line) });
    expect(lines).toEqual(["hello"]);
  });
});
