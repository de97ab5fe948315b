import { once } from "node:events";
import { createServer } from "node:net";
import type { ParentAddress } from "@damselfly/transport";
import { encodePacket, Tag } from "@damselfly/vortex";
import { RawConnection } from "./raw-connection.ts";

/** A request as Dragonfly's children send it, in bytes. */
export const REQUEST_LENGTH = 74;

/** The same from our own, with a range. */
export const RANGE_REQUEST_LENGTH = 90;

export interface RawParent extends AsyncDisposable {
  /** One of Dragonfly's. */
  readonly address: ParentAddress;
  /** In the order in which they came. */
  readonly connections: readonly RawConnection[];
}

/** A parent that does with each connection what the test says. @param serve its failures are the test's own business */
export async function openRawParent(
  serve: (connection: RawConnection, index: number) => Promise<void>,
): Promise<RawParent> {
  const connections: RawConnection[] = [];
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    const connection = new RawConnection(socket);
    const index = connections.push(connection) - 1;
    serve(connection, index).catch(() => connection.close());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new TypeError("expected a port");
  return {
    address: {
      hostId: "127.0.0.1-theirs",
      ip: "127.0.0.1",
      ports: { tcp: address.port },
      plain: true,
    },
    connections,
    async [Symbol.asyncDispose]() {
      for (const connection of connections) connection.close();
      server.close();
      await once(server, "close");
    },
  };
}

/** An announcement as Dragonfly's parents make it. */
export function announcement(pieceNumber: number, length: number): Buffer {
  return Buffer.from(
    encodePacket({
      kind: "content",
      id: 0x2b,
      tag: Tag.PieceContent,
      pieceNumber,
      offset: pieceNumber * length,
      length,
      digest: "crc32:2533597436",
      parentId: "127.0.0.1-localhost-00000000-0000-4000-8000-000000000000",
      trafficType: 1,
      costSeconds: 5,
      createdAtSeconds: 1_693_152_000,
    }),
  );
}
