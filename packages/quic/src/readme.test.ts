import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import * as quic from "./index.ts";

describe("README.md", () => {
  it("has an example that runs", async () => {
    const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
    const example = /```ts\n([\s\S]+?)```/.exec(readme)?.[1] ?? "";
    const body = example.replace(/^import .* from "@damselfly\/quic";\n/, "");
    const lines: unknown[] = [];
    // oxlint-disable-next-line typescript/no-implied-eval -- the text is our own README
    const run = new Function(
      "quic",
      "console",
      `const { openQuicEndpoint } = quic; return (async () => {${body}})()`,
    );
    await run(quic, { log: (line: unknown) => lines.push(line) });
    expect(lines).toEqual(["hello"]);
  });
});
