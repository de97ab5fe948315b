// One machine, for those who may make no namespaces: each place has a loopback address of its own, and nothing happens to the network.
import process from "node:process";

export function openLoopbackNetwork({ names }) {
  // Two runs at a time do not meet: the second byte of the addresses comes from the process.
  const network = `127.${(process.pid % 250) + 1}.${Math.floor(process.pid / 250) % 250}`;
  const places = new Map(
    names.map((name, index) => {
      const ip = `${network}.${index + 1}`;
      return [name, { index, ip, manageIp: ip, prefix: [] }];
    }),
  );
  return {
    kind: "loopback",
    places,
    hub: { prefix: [] },
    can: new Set(),
    setLink: async () => {},
    setBlocked: async () => {},
    report: async () => "",
    close: async () => {},
  };
}
