import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { expect, it } from "vitest";
import { ConnectionSorter } from "./connection-sorter.ts";

it("ConnectionSorter makes room for a new connection by closing the oldest that has said nothing", async () => {
  const taken: Socket[] = [];
  const sorter = new ConnectionSorter({
    takers: { http2: (socket) => void taken.push(socket) },
    firstBytesMs: 60_000,
    undecidedCountMax: 2,
  });
  const server = createServer((socket) => sorter.accept(socket)).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new TypeError("A port is wanted");
  const sockets: Socket[] = [];
  for (let count = 0; count < 3; count += 1) {
    const socket = connect(address.port, "127.0.0.1");
    sockets.push(socket);
    await once(socket, "connect");
  }
  await once(sockets[0]!.resume(), "close");
  for (const socket of sockets.slice(1)) socket.write("PRI ");
  await expect.poll(() => taken.length).toBe(2);
  for (const socket of [...sockets, ...taken]) socket.destroy();
  server.close();
  await once(server, "close");
});
