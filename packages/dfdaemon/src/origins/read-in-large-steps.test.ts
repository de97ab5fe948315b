import { createHash } from "node:crypto";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { openOriginFixture, portOf } from "../testing/origin-fixture.ts";
import { seededContent } from "../testing/origin-server.ts";
import { createTestAuthority } from "../testing/test-certificates.ts";
import { readInLargeSteps } from "./read-in-large-steps.ts";

const content = seededContent(8 << 20);
const sha256 = createHash("sha256").update(content).digest("hex");

describe("readInLargeSteps", () => {
  it("gives several sockets their own bytes, in chunks longer than Node's usual ones", async () => {
    const server = createServer((socket) => socket.end(content)).listen(0, "127.0.0.1");
    await once(server, "listening");
    const onread = readInLargeSteps();
    try {
      const received = await Promise.all(
        [1, 2, 3].map(async () => {
          const hash = createHash("sha256");
          let longest = 0;
          const socket = connect({ host: "127.0.0.1", port: portOf(server), onread });
          for await (const chunk of socket) {
            hash.update(chunk);
            longest = Math.max(longest, chunk.length);
          }
          return { sha256: hash.digest("hex"), longest };
        }),
      );
      for (const one of received) expect(one.sha256).toBe(sha256);
      expect(Math.max(...received.map(({ longest }) => longest))).toBeGreaterThan(64 * 1024);
    } finally {
      server.close();
    }
  });

  it("keeps what a reader holds and has not released as it was", async () => {
    const server = createServer((socket) => socket.end(content)).listen(0, "127.0.0.1");
    await once(server, "listening");
    try {
      const chunks: Uint8Array[] = [];
      const port = portOf(server);
      for await (const chunk of connect({ host: "127.0.0.1", port, onread: readInLargeSteps() }))
        chunks.push(chunk);
      const hash = createHash("sha256");
      for (const chunk of chunks) hash.update(chunk);
      expect(hash.digest("hex")).toBe(sha256);
    } finally {
      server.close();
    }
  });
});

describe("Origin.readAll", () => {
  it("joins the records of TLS that came while its reader was busy", async () => {
    const small = content.subarray(0, 1 << 20);
    const authority = createTestAuthority("the origin's");
    await using fixture = await openOriginFixture(
      { tls: authority.issue(), files: { "/file": { content: small } } },
      { caCert: authority.caCert },
    );
    await using body = await fixture.origin.readAll({
      url: `${fixture.server.url}/file`,
      header: {},
    });
    const chunks: Uint8Array[] = [];
    let longest = 0;
    for await (const chunk of body.content) {
      chunks.push(Buffer.from(chunk));
      longest = Math.max(longest, chunk.length);
      for (let count = 0; count < 10; count++) await turn();
    }
    expect(Buffer.concat(chunks).equals(small)).toBe(true);
    expect(longest).toBeGreaterThan(16 * 1024);
  });

  it("reads into the same memory again once its reader has asked for more", async () => {
    await using fixture = await openOriginFixture({ files: { "/file": { content } } });
    const request = { url: `${fixture.server.url}/file`, header: {} };
    const memories = new Set<unknown>();
    const totals = await Promise.all(
      [1, 2, 3].map(async () => {
        await using body = await fixture.origin.readAll(request);
        const hash = createHash("sha256");
        for await (const chunk of body.content) {
          memories.add(chunk.buffer);
          await turn(); // The others read meanwhile.
          hash.update(chunk);
        }
        return hash.digest("hex");
      }),
    );
    expect(totals).toEqual([sha256, sha256, sha256]);
    expect(memories.size).toBeLessThan((3 * content.byteLength) / (512 * 1024));
  });
});
