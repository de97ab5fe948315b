// The paths that are measured: what lies between the process that sends and the one that receives.
import { readFileSync } from "node:fs";
import { addNetem, whyNoNetem } from "./netem.mjs";
import { LINK_DEVICE, openLink, whyNoLink } from "./link/link.mjs";
import { addNamespace, ip, whyNoNamespaces } from "./namespaces.mjs";

const SERVER_IP = "10.213.0.1";
const CLIENT_IP = "10.213.0.2";
const NETWORK = "10.213.0.0/24";
export const PATH_IPS = [SERVER_IP, CLIENT_IP];
const LOOPBACK = "127.0.0.1";
/** TCP's congestion control where the path is clean: what nearly every host has. */
const USUAL_TCP = "cubic";
/** A switch's buffer at 1 Gbit/s: 16 ms. */
const QUEUE_BYTES = 2 << 20;

/**
 * A path that can be opened. `open` resolves with an `OpenPath`:
 * `serverIp`, `clientIp`, `serverNamespace`, `clientNamespace` (undefined: ours), `describe` for people, `tcp` names
 * the congestion control of TCP, `setTcp(name)` changes it, `close()` resolves with lines on what happened there.
 *
 * @typedef {{ name: string, title: string, isClean: boolean, tcpVariants: string[], whyNot(): string | undefined, open(): Promise<object> }} Path
 */

/** @param options - of the bad link: `rttMs`, `lossPercent`, `rateMbit`, `seed`, `emulator` (auto, netem, own), and `directory` for the compiled one */
export function listPaths(options) {
  return [loopback(), veth("veth-1500", 1500), veth("veth-9000", 9000), badLink("bad", options)];
}

function loopback() {
  return {
    name: "loopback",
    title: "Loopback",
    isClean: true,
    tcpVariants: [undefined],
    whyNot: () => undefined,
    async open() {
      const ours = { serverIp: LOOPBACK, clientIp: LOOPBACK, setTcp() {}, close: async () => [] };
      if (whyNoNamespaces() !== undefined) return { ...ours, tcp: readTcpDefault() };
      // A namespace of its own only for TCP's congestion control: everybody's must be the usual one.
      const { name, remove } = addNamespace("loopback");
      const route = ["local", LOOPBACK, "dev", "lo", "table", "local", "proto", "kernel"];
      ip("-n", name, "route", "change", ...route, "src", LOOPBACK, "congctl", USUAL_TCP);
      const close = async () => {
        remove();
        return [];
      };
      return { ...ours, serverNamespace: name, clientNamespace: name, tcp: USUAL_TCP, close };
    },
  };
}

function veth(name, mtu) {
  return {
    name,
    title: `veth pair, MTU ${mtu}`,
    isClean: true,
    tcpVariants: [undefined],
    whyNot: whyNoNamespaces,
    async open() {
      const pair = addPair();
      joinWithVeth(pair.names);
      const path = configure(pair, "veth0", mtu);
      path.close = async () => {
        pair.remove();
        return [];
      };
      return path;
    },
  };
}

/** A long, lossy path: `rttMs` there and back, `lossPercent` each way, `rateMbit` each way; `block` see `openLink`. */
export function badLink(name, options) {
  const { rttMs, lossPercent, rateMbit, emulator = "auto" } = options;
  const isNetem = emulator === "netem" || (emulator === "auto" && whyNoNetem() === undefined);
  const how = isNetem ? "netem" : "userspace link";
  return {
    name,
    title: `${rttMs} ms RTT, ${lossPercent} % loss each way, ${rateMbit === 0 ? "no rate limit" : `${rateMbit} Mbit/s`} (${how})`,
    isClean: false,
    rateMbit,
    tcpVariants: listTcpVariants(),
    whyNot: () => whyNoNamespaces() ?? (isNetem ? whyNoNetem() : whyNoLink()),
    async open() {
      const pair = addPair();
      const link = isNetem ? undefined : await openOwnLink(pair.names, options);
      if (isNetem) joinWithVeth(pair.names);
      const path = configure(pair, isNetem ? "veth0" : LINK_DEVICE, 1500);
      if (isNetem) addNetem(pair.names, { ...options, device: "veth0", queueBytes: QUEUE_BYTES });
      path.close = async () => {
        const lines = (await link?.close()) ?? [];
        pair.remove();
        return lines;
      };
      return path;
    },
  };
}

function openOwnLink(namespaces, { rttMs, lossPercent, rateMbit, seed = 1, directory, block }) {
  const values = { delayMs: rttMs / 2, lossPercent, rateMbit, seed, directory, block };
  return openLink({ ...values, namespaces, mtu: 1500, queueBytes: QUEUE_BYTES });
}

/** Two namespaces, not yet joined. */
function addPair() {
  const spaces = ["server", "client"].map(addNamespace);
  return {
    names: spaces.map(({ name }) => name),
    remove() {
      for (const space of spaces) space.remove();
    },
  };
}

function joinWithVeth([first, second]) {
  const ends = ["name", "veth0", "netns", first, "type", "veth", "peer", "name", "veth0"];
  ip("link", "add", ...ends, "netns", second);
}

/** Gives the devices that join a pair their addresses. @returns an open path but for its `close` */
function configure({ names }, device, mtu) {
  const addresses = [SERVER_IP, CLIENT_IP];
  for (const [index, name] of names.entries()) {
    ip("-n", name, "address", "add", `${addresses[index]}/24`, "dev", device);
    // The queue of a TUN device is where bursts wait until the link looks; a veth pair has none.
    ip("-n", name, "link", "set", device, "mtu", String(mtu), "txqueuelen", "10000", "up");
  }
  const path = {
    serverIp: SERVER_IP,
    clientIp: CLIENT_IP,
    serverNamespace: names[0],
    clientNamespace: names[1],
    /** For connections opened or accepted from now on. */
    setTcp(congestionControl) {
      for (const [index, name] of names.entries()) {
        const route = [NETWORK, "dev", device, "proto", "kernel", "scope", "link"];
        const source = ["src", addresses[index]];
        ip("-n", name, "route", "change", ...route, ...source, "congctl", congestionControl);
      }
      path.tcp = congestionControl;
    },
  };
  path.setTcp(USUAL_TCP);
  return path;
}

/** On a bad path TCP's congestion control decides: both that matter are measured, where the kernel has them. */
function listTcpVariants() {
  const known = readSetting("tcp_available_congestion_control").split(" ");
  return ["cubic", "bbr"].filter((name) => known.includes(name));
}

function readTcpDefault() {
  return readSetting("tcp_congestion_control") || "unknown";
}

function readSetting(name) {
  try {
    return readFileSync(`/proc/sys/net/ipv4/${name}`, "utf8").trim();
  } catch {
    return ""; // not Linux
  }
}
