import type { ParentAddress, PieceDownload } from "@damselfly/transport";
import { TransportError } from "@damselfly/transport";
import { codeOf, readPiece, SyntheticSource } from "@damselfly/transport/conformance";
import {
  createQuicDownloader,
  type QuicBackend,
  type QuicDownloader,
} from "@damselfly/transport-quic";
import { describe, expect, it } from "vitest";
import { SILENT_LOGGER } from "../logger.ts";
import { BackendChoice } from "./backend-choice.ts";
import { TwoBackendDownloader } from "./two-backend-downloader.ts";

const PARENT: ParentAddress = {
  hostId: "parent",
  ip: "192.0.2.7",
  ports: { quic: [4006] },
  quinn: { port: 4008, key: "12D3KooW" },
};
const MIB = 1024 * 1024;

/** Two backends that get their pieces from memory, or fail as `failures` says. */
function open(failures: Partial<Record<QuicBackend, TransportError>>) {
  const source = new SyntheticSource();
  const asked: QuicBackend[] = [];
  const backend = (name: QuicBackend): QuicDownloader => {
    const downloader = createQuicDownloader();
    downloader.downloadPiece = async (_, request): Promise<PieceDownload> => {
      asked.push(name);
      const failure = failures[name];
      if (failure !== undefined) throw failure;
      return source.openPiece(request);
    };
    return downloader;
  };
  const choice = new BackendChoice({ firstHopTo: () => ({ isOwnMachine: false, mtu: 1500 }) });
  const downloaders = { quiche: backend("quiche"), quinn: backend("quinn") };
  const downloader = new TwoBackendDownloader({ downloaders, choice, logger: SILENT_LOGGER });
  return { source, asked, downloader };
}

const failure = (code: TransportError["code"]): TransportError => new TransportError(code, "no");

describe("TwoBackendDownloader", () => {
  it("hands on exact pieces, by both backends", async () => {
    const { source, asked, downloader } = open({});
    for (let number = 0; number < 16; number++) {
      const request = source.add(number, { length: MIB });
      const download = await downloader.downloadPiece(PARENT, request);
      expect(download.piece.length).toBe(MIB);
      expect(await readPiece(download)).toBe(MIB);
    }
    expect(new Set(asked)).toEqual(new Set(["quiche", "quinn"]));
    await source.untilFree();
    await downloader[Symbol.asyncDispose]();
  });

  it("frees a piece that is left half-way", async () => {
    const { source, downloader } = open({});
    const download = await downloader.downloadPiece(PARENT, source.add(0, { length: MIB }));
    for await (const chunk of download.content) {
      expect(chunk.byteLength).toBeGreaterThan(0);
      break;
    }
    await source.untilFree();
    await downloader[Symbol.asyncDispose]();
  });

  it.each([
    ["quinn", "ERR_PARENT_UNREACHABLE"],
    ["quinn", "ERR_PARENT_UNTRUSTED"],
    ["quiche", "ERR_PARENT_UNREACHABLE"],
  ] as const)("goes round %s when it says %s, and stays away", async (name, code) => {
    const { source, asked, downloader } = open({ [name]: failure(code) });
    for (let number = 0; number < 16; number++) {
      const download = await downloader.downloadPiece(PARENT, source.add(number, { length: 10 }));
      expect(await readPiece(download)).toBe(10);
    }
    expect(asked.filter((each) => each === name)).toHaveLength(1);
    await downloader[Symbol.asyncDispose]();
  });

  it("fails where both fail, and where another way would not help", async () => {
    const unreachable = failure("ERR_PARENT_UNREACHABLE");
    const both = open({ quiche: unreachable, quinn: unreachable });
    const request = both.source.add(0, { length: 10 });
    const failed = codeOf(both.downloader.downloadPiece(PARENT, request));
    expect(await failed).toBe("ERR_PARENT_UNREACHABLE");
    expect(both.asked).toHaveLength(2);
    const untrusted = open({ quiche: failure("ERR_PARENT_UNTRUSTED") });
    expect(await codeOf(untrusted.downloader.downloadPiece(PARENT, request))).toBe(
      "ERR_PARENT_UNTRUSTED",
    );
    await both.downloader[Symbol.asyncDispose]();
    await untrusted.downloader[Symbol.asyncDispose]();
  });
});
