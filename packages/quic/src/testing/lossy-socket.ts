import type { UdpSocketFactory } from "../udp-socket.ts";
import { createRandom } from "./random.ts";

/** Of every hundred datagrams that arrive, loses some, repeats some and lets some be overtaken. */
export function openLossy(open: UdpSocketFactory): UdpSocketFactory {
  return (options) => {
    const random = createRandom(options.address.port + 1);
    let late: (() => void) | undefined;
    return open({
      ...options,
      onMessage(datagram, ip, port) {
        const fate = random();
        if (fate < 0.05) return;
        const copy = Buffer.from(datagram); // receiving decrypts in place
        if (fate > 0.9 && late === undefined) {
          late = () => options.onMessage(copy, ip, port);
          return;
        }
        options.onMessage(datagram, ip, port);
        if (fate < 0.1) options.onMessage(copy, ip, port);
        late?.();
        late = undefined;
      },
    });
  };
}
