// Network namespaces for a cluster: one a place, each with a way to a hub that no fault touches.
import { addNamespace, inNamespace, ip } from "../../support/namespaces.mjs";

/** For health, metrics and the like. */
const MANAGE_NETWORK = "10.78.0";
/** For pieces, schedulers and the origin. */
const DATA_NETWORK = "10.77.0";
const MANAGE_BRIDGE = "manage";

/**
 * @returns `hub` and `places` as a network has them, each also with the `namespace`; a place's `index` counts from 0, and the last byte of
 *   its addresses is one more. Nobody has the address `ip` yet
 */
export function openPlaces(names) {
  const hub = addNamespace("hub");
  ip("-n", hub.name, "link", "add", MANAGE_BRIDGE, "type", "bridge");
  ip("-n", hub.name, "addr", "add", `${MANAGE_NETWORK}.254/24`, "dev", MANAGE_BRIDGE);
  ip("-n", hub.name, "link", "set", MANAGE_BRIDGE, "up");
  const places = new Map();
  for (const [index, name] of names.entries()) {
    const { name: namespace } = addNamespace(name);
    const manageIp = `${MANAGE_NETWORK}.${index + 1}`;
    addCable({ hub: hub.name, namespace, bridge: MANAGE_BRIDGE, device: "manage0", index });
    ip("-n", namespace, "addr", "add", `${manageIp}/24`, "dev", "manage0");
    const prefix = inNamespace(namespace, []);
    places.set(name, { index, namespace, ip: `${DATA_NETWORK}.${index + 1}`, manageIp, prefix });
  }
  return { hub: { namespace: hub.name, prefix: inNamespace(hub.name, []) }, places };
}

/** A pair of veth devices: `device` in a place, its other end at a bridge of the hub. @returns the name of that end */
export function addCable({ hub, namespace, bridge, device, index }) {
  const end = `${device}-${index}`;
  ip("-n", hub, "link", "add", end, "type", "veth", "peer", "name", device, "netns", namespace);
  ip("-n", hub, "link", "set", end, "master", bridge);
  ip("-n", hub, "link", "set", end, "up");
  ip("-n", namespace, "link", "set", device, "up");
  return end;
}
