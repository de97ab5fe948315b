import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import type { PieceInfo } from "@damselfly/transport";
import { decodePacket } from "@damselfly/vortex";
import { LOOPBACK } from "./daemon.ts";
import { announcement, refusal } from "./liar-packets.ts";

/** What our own children send: with a range. */
const REQUEST_LENGTH = 90;

export interface TcpLiar {
  readonly port: number;
  close(): Promise<void>;
}

/** Serves requests over TCP as Vortex, one a connection, and whatever the lie makes of each. */
export async function openTcpLiar(
  serve: (number: number) => AsyncIterable<PieceInfo | Uint8Array>,
): Promise<TcpLiar> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {}); // the child has had enough
    answer(socket, serve).catch(() => socket.destroy());
  });
  server.listen(0, LOOPBACK);
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new TypeError("expected a TCP port");
  return {
    port: address.port,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

async function answer(
  socket: Socket,
  serve: (number: number) => AsyncIterable<PieceInfo | Uint8Array>,
): Promise<void> {
  let request = Buffer.alloc(0);
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    const bytes: Uint8Array = chunk;
    request = Buffer.concat([request, bytes]);
    if (request.byteLength >= REQUEST_LENGTH) break;
  }
  const packet = decodePacket(request);
  if (packet.kind !== "range-request") return;
  let announced = false;
  try {
    for await (const part of serve(packet.pieceNumber)) {
      socket.write(part instanceof Uint8Array ? part : announcement(part));
      announced = true;
    }
  } catch (error) {
    if (announced) throw error;
    socket.write(refusal(error));
  }
  socket.end();
}
