import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { AnnouncePeerRequest, Download, Host, SyncPiecesResponse } from "./index.ts";
import { loadService, type ServiceName } from "./load-service.ts";

const serviceNames: readonly ServiceName[] = [
  "damselfly.v1.Cache",
  "damselfly.v1.PieceTransfer",
  "dfdaemon.v2.DfdaemonDownload",
  "dfdaemon.v2.DfdaemonUpload",
  "grpc.health.v1.Health",
  "manager.v2.Manager",
  "scheduler.v2.Scheduler",
];

describe("loadService", () => {
  it.each(serviceNames)("finds %s with a path for each method", (name) => {
    const { methods } = loadService(name);
    expect(methods.size).toBeGreaterThan(0);
    for (const [methodName, { path }] of methods) {
      const pascal = methodName.charAt(0).toUpperCase() + methodName.slice(1);
      expect(path).toBe(`/${name}/${pascal}`);
    }
  });

  it("loads a service once", () => {
    expect(loadService("scheduler.v2.Scheduler")).toBe(loadService("scheduler.v2.Scheduler"));
  });
});

// The left side is written by hand from the field numbers of Dragonfly's API 2.3.8.
describe("what goes on the wire", () => {
  it("has SyncPiecesResponse as Dragonfly's peers write it, with our extension at 1000", () => {
    const message: SyncPiecesResponse = {
      number: 3,
      offset: 12_582_912,
      length: 300,
      ip: "10.0.0.1",
      tcpPort: 4005,
      extension: { version: 1, transports: [{ protocol: "quic", ports: [4006, 4016], tls: true }] },
    };
    const { responseSerialize, responseDeserialize } = method(
      "dfdaemon.v2.DfdaemonUpload",
      "syncPieces",
    );
    const bytes = Buffer.concat([
      Buffer.from("0803", "hex"), // 1 number
      Buffer.from("1080808006", "hex"), // 2 offset
      Buffer.from("18ac02", "hex"), // 3 length
      Buffer.from("2208", "hex"), // 4 ip
      Buffer.from("10.0.0.1"),
      Buffer.from("28a51f", "hex"), // 5 tcp_port
      Buffer.from("c23e12", "hex"), // 1000 extension
      Buffer.from("0801", "hex"), // .1 version
      Buffer.from("120e0a0471756963", "hex"), // .2 transports .1 protocol "quic"
      Buffer.from("1204a61fb01f1801", "hex"), // .2 ports, packed .3 tls
    ]);
    expect(responseSerialize(message).toString("hex")).toBe(bytes.toString("hex"));
    expect(responseDeserialize(bytes)).toMatchObject(message);
  });

  it("skips fields it does not know, as newer peers send them", () => {
    const { requestDeserialize } = method("dfdaemon.v2.DfdaemonUpload", "statLocalTask");
    const bytes = Buffer.concat([
      Buffer.from("0a0161", "hex"),
      Buffer.from("fa3e0462626262", "hex"),
    ]);
    expect(requestDeserialize(bytes)).toEqual({ taskId: "a" });
  });

  it("tells an absent optional field from an empty one", () => {
    const { requestDeserialize, requestSerialize } = method(
      "dfdaemon.v2.DfdaemonDownload",
      "downloadTask",
    );
    const download: Download = { url: "http://a/", tag: "", digest: undefined };
    const decoded = requestDeserialize(requestSerialize({ download }));
    expect(decoded).toMatchObject({ download: { url: "http://a/", tag: "", type: "STANDARD" } });
    expect(decoded).not.toHaveProperty("download.digest");
    expect(decoded).not.toHaveProperty("download.pieceLength");
  });

  it("names the member of a oneof that is set", () => {
    const { requestDeserialize, requestSerialize } = method(
      "scheduler.v2.Scheduler",
      "announcePeer",
    );
    const message: AnnouncePeerRequest = { hostId: "h", downloadPeerStartedRequest: {} };
    const bytes = requestSerialize(message);
    expect(bytes.toString("hex")).toBe("0a01682a00"); // 1 host_id, 5 download_peer_started_request
    expect(requestDeserialize(bytes)).toMatchObject({ request: "downloadPeerStartedRequest" });
  });

  it("carries lengths and rates up to 2^53 - 1 exactly", () => {
    const { requestDeserialize, requestSerialize } = method(
      "scheduler.v2.Scheduler",
      "announceHost",
    );
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.integer({ min: 0, max: 65_535 }), (total, port) => {
        const host: Host = { id: "h", port, memory: { total }, network: { rxBandwidth: total } };
        const decoded = requestDeserialize(requestSerialize({ host }));
        expect(decoded).toMatchObject({ host });
      }),
    );
  });
});

function method(service: ServiceName, name: string) {
  const loaded = loadService(service).methods.get(name);
  if (loaded === undefined) throw new Error(`${service} has no ${name}`);
  return loaded;
}
