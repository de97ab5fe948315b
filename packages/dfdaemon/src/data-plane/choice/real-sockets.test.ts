import type { Downloader, ParentAddress, PieceServer } from "@damselfly/transport";
import { readPiece, SyntheticSource } from "@damselfly/transport/conformance";
import { createGrpcDownloader, serveGrpc } from "@damselfly/transport-grpc";
import { createQuicDownloader, serveQuic } from "@damselfly/transport-quic";
import { createTcpDownloader, serveTcp } from "@damselfly/transport-tcp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SILENT_LOGGER } from "../../logger.ts";
import { openTraps, type Traps } from "../../testing/traps.ts";
import { ChoiceTotals } from "./choice-totals.ts";
import { TransportChooser } from "./transport-chooser.ts";

const MIB = 1024 * 1024;
const ADDRESS = { ip: "127.0.0.1", port: 0 };

describe("TransportChooser over real sockets", () => {
  const source = new SyntheticSource();
  const servers: PieceServer[] = [];
  const ports = { tcp: 0, quic: 0, grpc: 0 };
  let traps: Traps;

  beforeAll(async () => {
    traps = await openTraps();
    for (const server of [
      await serveTcp({ source, address: ADDRESS, plain: true }),
      await serveQuic({ source, address: ADDRESS }),
      await serveGrpc({ source, address: ADDRESS }),
    ]) {
      servers.push(server);
      ports[server.protocol] = server.address.port;
    }
  });
  afterAll(async () => {
    for (const server of servers) await server[Symbol.asyncDispose]();
    await traps[Symbol.asyncDispose]();
  });

  it.each([
    ["everything works", () => ({}), "tcp"],
    ["UDP is swallowed", () => ({ quic: [traps.udpPort] }), "tcp"],
    ["the TCP port is closed", () => ({ tcp: traps.closedPort }), "quic"],
    ["the TCP port takes connections and no more", () => ({ tcp: traps.tcpPort }), "quic"],
    ["only gRPC gets through", () => ({ tcp: traps.tcpPort, quic: [traps.udpPort] }), "grpc"],
    [
      "the UDP port is closed, and there is no TCP",
      () => ({ tcp: undefined, quic: [traps.closedPort] }),
      "grpc",
    ],
  ] as const)("brings every byte when %s", async (_, trapped, used) => {
    const parent: ParentAddress = {
      hostId: "parent",
      ip: ADDRESS.ip,
      ports: {
        tcp: ports.tcp,
        quic: [ports.quic],
        grpc: ports.grpc,
        ...trapped(),
      } as ParentAddress["ports"],
    };
    const downloaders: Downloader[] = [
      createTcpDownloader(),
      createQuicDownloader(),
      createGrpcDownloader(),
    ];
    const totals = new ChoiceTotals();
    const chooser = new TransportChooser({
      downloaders,
      mode: "auto",
      observer: totals,
      logger: SILENT_LOGGER,
    });
    const { signal } = new AbortController();
    const fetch = async (number: number): Promise<number> => {
      const request = source.add(number, { length: MIB });
      return await readPiece(await chooser.downloadPiece(parent, request, { signal }));
    };
    expect(await Promise.all([0, 1, 2, 3].map(fetch))).toEqual([MIB, MIB, MIB, MIB]);
    for (let number = 4; number < 8; number += 1) expect(await fetch(number)).toBe(MIB);
    const bytes = totals.protocols.filter(({ byteCount }) => byteCount > 0);
    expect(bytes.map(({ protocol }) => protocol)).toEqual(expect.arrayContaining([used]));
    expect(bytes.reduce((sum, { byteCount }) => sum + byteCount, 0)).toBe(
      8 * MIB + totals.doubledBytes,
    );
    await chooser[Symbol.asyncDispose]();
    await source.untilFree();
  });
});
