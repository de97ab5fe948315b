import type { UdpSocketFactory } from "../udp-socket.ts";

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

/** Park and Miller's generator: the same numbers for the same start value. */
function createRandom(start: number): () => number {
  let state = start;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}
