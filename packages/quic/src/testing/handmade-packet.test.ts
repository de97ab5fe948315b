import { describe, expect, it } from "vitest";
import { initialKeys, openInitial, sealInitial } from "./handmade-packet.ts";

describe("initialKeys", () => {
  it("are those of RFC 9001, appendix A.1", () => {
    const { key, iv, headerKey } = initialKeys(Buffer.from("8394c8f03e515708", "hex"), "client");
    expect(key.toString("hex")).toBe("1f369613dd76d5467730efcbe3b1a22d");
    expect(iv.toString("hex")).toBe("fa044b2f42a3fd3b46fb255c");
    expect(headerKey.toString("hex")).toBe("9f50449e04a0e810283a1e9933adedd2");
  });
});

describe("sealInitial", () => {
  it("makes what openInitial opens, and nobody who has changed a bit", () => {
    const destinationId = Buffer.alloc(8, 1);
    const sourceId = Buffer.alloc(16, 2);
    const datagram = sealInitial({
      destinationId,
      sourceId,
      token: Buffer.from("token"),
      packetNumber: 7,
      payload: Buffer.from([1, 2, 3]),
      lengthMin: 1200,
    });
    expect(datagram).toHaveLength(1200);
    const opened = openInitial(datagram);
    expect(opened).toMatchObject({ destinationId, sourceId });
    expect(opened?.payload.subarray(0, 4)).toEqual(Buffer.from([1, 2, 3, 0]));
    datagram[600] = (datagram[600] ?? 0) ^ 1;
    expect(openInitial(datagram)).toBeUndefined();
  });
});
