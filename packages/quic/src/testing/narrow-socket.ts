import type { UdpSocketFactory } from "../udp-socket.ts";

/** Sends nothing longer than `lengthMax`, and says so as the kernel would on a path of that MTU. */
export function openNarrow(open: UdpSocketFactory, lengthMax: number): UdpSocketFactory {
  return async (options) => {
    const socket = await open(options);
    const send = socket.send.bind(socket);
    socket.send = (buffer, length, segmentLength, ip, port) => {
      if (Math.min(length, segmentLength) <= lengthMax) {
        send(buffer, length, segmentLength, ip, port);
        return;
      }
      socket.returnBuffer(buffer);
      const error = Object.assign(new Error("send EMSGSIZE"), { code: "EMSGSIZE" });
      setImmediate(() => options.onError(error, ip, port, segmentLength));
    };
    return socket;
  };
}
