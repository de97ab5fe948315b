import { describe, expect, it } from "vitest";
import { readNativeClose } from "./native-close.ts";

describe("readNativeClose", () => {
  it.each([
    ["closed", { by: "here", isApplication: true, code: 0 }],
    ["endpoint stopping", { by: "here", isApplication: true }],
    ["timed out", { by: "idle-timeout" }],
    ["closed by peer: 0", { by: "peer", isApplication: true, code: 0 }],
    ["reset by peer", { by: "lost" }],
    [
      "aborted by peer: the cryptographic handshake failed: error 46: bad",
      { by: "peer", isApplication: false, code: 0x12e },
    ],
    [
      "aborted by peer: the server refused to accept a new connection",
      { by: "peer", isApplication: false, code: 1 },
    ],
    ["aborted by peer: flow control", { by: "peer", isApplication: false, code: 1 }],
  ])("understands '%s'", (text, reason) => {
    expect(readNativeClose(text)).toMatchObject(reason);
  });
});
