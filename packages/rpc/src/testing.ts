/**
 * Certificates for tests, from where they are made; and a caller that speaks HTTP/2 frame by frame. Exported as
 * "@damselfly/rpc/testing".
 */
export { createTestAuthority, type TestAuthority } from "@damselfly/transport/testing";
export {
  dataFrames,
  encodeHeader,
  encodeHeaders,
  encodeMessage,
  type Frame,
  frame,
  FrameType,
  headerFrames,
  RawHttp2,
} from "./testing/raw-http2.ts";
