// A network of namespaces that are joined by bridges of the kernel, for machines without a C compiler: it can be cut and slowed down.
import { spawnSync } from "node:child_process";
import { inNamespace, ip } from "../../support/namespaces.mjs";
import { addCable, openPlaces } from "./places.mjs";

const DEVICE = "data0";

export function openBridgedNetwork({ names }) {
  const { hub, places } = openPlaces(names);
  const bridges = new Set();
  const ends = new Map();
  const addBridge = (bridge) => {
    if (bridges.has(bridge)) return;
    bridges.add(bridge);
    ip("-n", hub.namespace, "link", "add", bridge, "type", "bridge");
    ip("-n", hub.namespace, "link", "set", bridge, "up");
  };
  addBridge("data-0");
  for (const [name, { namespace, index, ip: address }] of places) {
    const cable = { hub: hub.namespace, namespace, bridge: "data-0", device: DEVICE, index };
    ends.set(name, addCable(cable));
    ip("-n", namespace, "addr", "add", `${address}/24`, "dev", DEVICE);
  }
  return {
    kind: "bridge",
    places,
    hub,
    can: new Set(["cut", "rate"]),
    async setLink(name, { rateMbit = 0 }) {
      limitRate(hub.namespace, ends.get(name), rateMbit);
      limitRate(places.get(name).namespace, DEVICE, rateMbit);
    },
    /** Those who can still reach each other are put on a bridge of their own. */
    async setBlocked(pairs) {
      for (const [index, group] of groupsOf([...places.keys()], pairs).entries()) {
        addBridge(`data-${index}`);
        for (const name of group)
          ip("-n", hub.namespace, "link", "set", ends.get(name), "master", `data-${index}`);
      }
    },
    report: async () => "",
    close: async () => {},
  };
}

/** Sets of names within which nobody is blocked. What no such sets can express is blocked more than was asked for. */
export function groupsOf(names, pairs) {
  const blocked = new Set(pairs.flatMap(([a, b]) => [`${a} ${b}`, `${b} ${a}`]));
  const groups = [];
  for (const name of names) {
    const group = groups.find((members) =>
      members.every((member) => !blocked.has(`${name} ${member}`)),
    );
    if (group === undefined) groups.push([name]);
    else group.push(name);
  }
  return groups;
}

function limitRate(namespace, device, rateMbit) {
  const run = (...words) =>
    spawnSync(...toCall(inNamespace(namespace, ["tc", "qdisc", ...words])), { encoding: "utf8" });
  run("delete", "dev", device, "root");
  if (rateMbit === 0) return;
  const { status, stderr } = run(
    "add",
    "dev",
    device,
    "root",
    "tbf",
    "rate",
    `${rateMbit}mbit`,
    "burst",
    "128kb",
    "latency",
    "200ms",
  );
  if (status !== 0) throw new Error(`Cannot limit the rate of ${device}: ${stderr.trim()}`);
}

function toCall([program, ...parameters]) {
  return [program, parameters];
}
