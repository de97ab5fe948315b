import { describe, expect, it } from "vitest";
import { collect } from "../testing/origin-fixture.ts";
import { openProxyServer } from "../testing/proxy-server.ts";
import { openRawProxy, openRawServer, settle, type RawConnection } from "../testing/raw-server.ts";
import { createTestAuthority } from "../testing/test-certificates.ts";
import { openHttpOrigin } from "./http-origin.ts";
import type { ProxySettings } from "./proxies.ts";

/** More than is held for a reader that does not read, so that the connection is not read either; it all fits into the kernel. */
const SENT = Buffer.alloc(300 * 1024, 7);
const ANNOUNCED = 1 << 20;
const authority = createTestAuthority();

/** Ways for a body to say where it ends, each with the header and what comes before the content. */
const FRAMINGS = {
  "of a known length": `Content-Length: ${ANNOUNCED}\r\n\r\n`,
  "in chunks": `Transfer-Encoding: chunked\r\n\r\n${ANNOUNCED.toString(16)}\r\n`,
  "that ends with its connection": "\r\n",
} as const;
type Framing = keyof typeof FRAMINGS;

type Ending = "said goodbye" | "reset";
type Reader = "who reads" | "who is slower than the network";
type Route = "straight" | "over TLS" | "through a proxy" | "through a tunnel";

interface Case {
  readonly framing: Framing;
  readonly keepsAlive: boolean;
  readonly ending: Ending;
  readonly reader: Reader;
  readonly route: Route;
}

/** What a client makes of a body that is broken off after `SENT`. */
async function readBroken({ framing, keepsAlive, ending, reader, route }: Case): Promise<Buffer> {
  let broken: RawConnection | undefined;
  const head = `HTTP/1.1 200 OK\r\n${keepsAlive ? "" : "Connection: close\r\n"}${FRAMINGS[framing]}`;
  const isSecure = route === "over TLS" || route === "through a tunnel";
  await using server = await openRawServer(
    (connection) => {
      broken = connection;
      connection.socket.write(head);
      connection.socket.write(SENT);
    },
    isSecure ? { tls: authority.issue() } : {},
  );
  await using tunnel = await openProxyServer();
  await using relay = await openRawProxy();
  const proxy: ProxySettings = {
    ...(route === "through a tunnel" ? { httpsProxy: tunnel.url } : {}),
    ...(route === "through a proxy" ? { httpProxy: `http://127.0.0.1:${relay.port}` } : {}),
  };
  await using origin = openHttpOrigin({
    userAgent: "test",
    caCert: authority.caCert,
    proxy,
  });
  const url = `${isSecure ? "https" : "http"}://127.0.0.1:${server.port}/file`;
  await using body = await origin.readAll({ url, header: {} });
  const reading = reader === "who reads" ? collect(body.content) : undefined;
  // It may fail before anybody waits for it.
  reading?.catch(() => {});
  await settle();
  if (ending === "reset") broken?.reset();
  else broken?.socket.end();
  await settle();
  return await (reading ?? collect(body.content));
}

const FRAMED: readonly Framing[] = ["of a known length", "in chunks"];
const READERS: readonly Reader[] = ["who reads", "who is slower than the network"];
const ENDINGS: readonly Ending[] = ["said goodbye", "reset"];
const ROUTES: readonly Route[] = ["straight", "over TLS", "through a proxy", "through a tunnel"];

describe.each(ROUTES)("A body that comes %s", (route) => {
  describe.each(READERS)("for somebody %s", (reader) => {
    it.each(
      FRAMED.flatMap((framing) =>
        [true, false].flatMap((keepsAlive) =>
          ENDINGS.map((ending) => ({ framing, keepsAlive, ending })),
        ),
      ),
    )(
      "$framing is an error when it is cut short by an origin that $ending (keep-alive: $keepsAlive)",
      async (rest) => {
        await expect(readBroken({ ...rest, reader, route })).rejects.toMatchObject({
          code: expect.stringMatching(/^ERR_ORIGIN_(TRUNCATED|UNREACHABLE)$/),
        });
      },
    );

    it("that ends with its connection is whole when the origin said goodbye", async () => {
      const framing = "that ends with its connection";
      const got = await readBroken({
        framing,
        keepsAlive: false,
        ending: "said goodbye",
        reader,
        route,
      });
      expect(got.equals(SENT)).toBe(true);
    });
  });
});

// Through a tunnel and TLS the reset is somebody else's: what arrives here is an end like any other.
describe.each(["straight", "through a proxy"] as const)("A body that comes %s", (route) => {
  it.each(READERS)(
    "and ends with its connection is an error when that is reset, for somebody %s",
    async (reader) => {
      const framing = "that ends with its connection";
      const reading = readBroken({ framing, keepsAlive: false, ending: "reset", reader, route });
      await expect(reading).rejects.toMatchObject({
        code: "ERR_ORIGIN_UNREACHABLE",
        message: expect.stringContaining("ECONNRESET"),
      });
    },
  );
});

describe("A body that goes on past its end", () => {
  const evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
  it.each([
    ["of a known length", `Content-Length: 4\r\n\r\ngood${evil}`],
    ["in chunks", `Transfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n${evil}`],
  ])("%s ends there, and the rest is no answer to anything", async (_framing, rest) => {
    await using server = await openRawServer(({ socket }) => {
      socket.write(`HTTP/1.1 200 OK\r\n${rest}`);
    });
    await using origin = openHttpOrigin({ userAgent: "test" });
    for (let round = 0; round < 3; round += 1) {
      const url = `http://127.0.0.1:${server.port}/`;
      await using body = await origin.readAll({ url, header: {} });
      expect((await collect(body.content)).toString()).toBe("good");
    }
  });

  it.each([
    ["two lengths", "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde"],
    ["a length and chunks", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    ["a chunk that is no chunk", "Transfer-Encoding: chunked\r\n\r\nzz\r\nabcd\r\n0\r\n\r\n"],
    ["a length that is none", "Content-Length: -4\r\n\r\nabcd"],
  ])("is not even begun where there are %s", async (_what, rest) => {
    await using server = await openRawServer(({ socket }) => {
      socket.end(`HTTP/1.1 200 OK\r\n${rest}`);
    });
    await using origin = openHttpOrigin({ userAgent: "test" });
    const reading = (async () => {
      await using body = await origin.readAll({
        url: `http://127.0.0.1:${server.port}/`,
        header: {},
      });
      return await collect(body.content);
    })();
    await expect(reading).rejects.toMatchObject({
      code: expect.stringMatching(/^ERR_ORIGIN_(TRUNCATED|UNREACHABLE)$/),
    });
  });
});
