import type { UdpSocketFactory } from "../udp-socket.ts";

/** Peers on loopback are seen at this address, which no machine has (RFC 5737): as if there were a path to them. */
export const FAR_AWAY = "203.0.113.1";

export interface NarrowPath {
  /** Longer datagrams get lost in silence; may change at any time. */
  lengthMax: number;
  readonly open: UdpSocketFactory;
  /** Of all datagrams with a packet of a handshake sent over it, the longest. */
  longestHandshake: number;
}

export function createNarrowPath(openSocket: UdpSocketFactory, lengthMax: number): NarrowPath {
  const path: NarrowPath = {
    lengthMax,
    longestHandshake: 0,
    open: async (options) => {
      const socket = await openSocket({
        ...options,
        onMessage: (datagram, _ip, port) => options.onMessage(datagram, FAR_AWAY, port),
      });
      const send = socket.send.bind(socket);
      socket.send = (buffer, length, segmentLength, _ip, port) => {
        for (let offset = 0; offset < length; offset += segmentLength) {
          const part = Math.min(segmentLength, length - offset);
          const isHandshake = ((buffer[offset] ?? 0) & 0x80) !== 0;
          if (isHandshake) path.longestHandshake = Math.max(path.longestHandshake, part);
          if (part > path.lengthMax) continue;
          const single = socket.takeBuffer();
          single.set(buffer.subarray(offset, offset + part));
          send(single, part, part, options.address.ip, port);
        }
        socket.returnBuffer(buffer);
      };
      return socket;
    },
  };
  return path;
}
