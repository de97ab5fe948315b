import type { UdpSocket, UdpSocketFactory } from "../udp-socket.ts";

/** A socket whose port changes under its owner, as behind a NAT that has forgotten it. */
export function createMovableSocket(openSocket: UdpSocketFactory): {
  readonly open: UdpSocketFactory;
  move(): void;
} {
  let current: UdpSocket;
  let next: UdpSocket;
  return {
    open: async (options) => {
      current = await openSocket(options);
      next = await openSocket({ ...options, address: { ...options.address, port: 0 } });
      const [first, second] = [current, next];
      return {
        address: first.address,
        isFragmentFree: first.isFragmentFree,
        counters: first.counters,
        takeBuffer: () => current.takeBuffer(),
        returnBuffer: (buffer) => current.returnBuffer(buffer),
        send: (...datagrams) => current.send(...datagrams),
        async close() {
          await Promise.all([first.close(), second.close()]);
        },
      };
    },
    move() {
      current = next;
    },
  };
}
