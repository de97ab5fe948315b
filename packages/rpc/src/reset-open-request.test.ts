import { once } from "node:events";
import { connect, constants, type IncomingHttpHeaders } from "node:http2";
import { afterEach, expect, it } from "vitest";
import { implementService, type ServiceImplementation } from "./implement-service.ts";
import type { SchedulerMethods } from "./generated/services.ts";
import { RpcError } from "./rpc-error.ts";
import { serveRpc } from "./serve-rpc.ts";

const disposables: AsyncDisposable[] = [];

afterEach(async () => {
  for (const each of disposables.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

/** Opens a call, never says its last word, and waits until the server has let go of it. */
async function callWithoutEnd(
  announcePeer: NonNullable<ServiceImplementation<SchedulerMethods>["announcePeer"]>,
): Promise<{ grpcStatus: unknown; rstCode: number; messageCount: number }> {
  const server = await serveRpc({
    address: { ip: "127.0.0.1", port: 0 },
    services: [implementService("scheduler.v2.Scheduler", { announcePeer })],
  });
  disposables.push(server);
  if (!("port" in server.address)) throw new TypeError("A port is wanted");
  const session = connect(`http://127.0.0.1:${server.address.port}`);
  disposables.push({ [Symbol.asyncDispose]: async () => session.destroy() });
  const stream = session.request(
    {
      [constants.HTTP2_HEADER_METHOD]: "POST",
      [constants.HTTP2_HEADER_PATH]: "/scheduler.v2.Scheduler/AnnouncePeer",
      [constants.HTTP2_HEADER_CONTENT_TYPE]: "application/grpc",
      te: "trailers",
    },
    { endStream: false },
  );
  let status: IncomingHttpHeaders = {};
  stream.on("response", (headers) => (status = headers));
  stream.on("trailers", (headers: IncomingHttpHeaders) => (status = headers));
  let length = 0;
  stream.on("data", (chunk: Buffer) => (length += chunk.byteLength));
  await once(stream, "close");
  return { grpcStatus: status["grpc-status"], rstCode: stream.rstCode, messageCount: length / 7 };
}

it("a call that ends well lets go of a caller that has not said its last word", async () => {
  const outcome = await callWithoutEnd(async (call) => {
    // Seven bytes with gRPC's frame.
    for (let count = 0; count < 3; count += 1) await call.write({ emptyTaskResponse: {} });
  });
  expect(outcome).toEqual({
    grpcStatus: "0",
    rstCode: constants.NGHTTP2_NO_ERROR,
    messageCount: 3,
  });
});

it("a call that is refused lets go of its caller, too", async () => {
  const outcome = await callWithoutEnd(async () => {
    throw new RpcError("NOT_FOUND", "no such host");
  });
  expect(outcome).toEqual({
    grpcStatus: "5",
    rstCode: constants.NGHTTP2_NO_ERROR,
    messageCount: 0,
  });
});
