// What joins the processes of a cluster, as well as it can be had here.
import { openBridgedNetwork } from "./bridged-network.mjs";
import { openLoopbackNetwork } from "./loopback-network.mjs";
import { openSwitchedNetwork, whyNoSwitch } from "./switched-network.mjs";
import { whyNoNamespaces } from "../../support/namespaces.mjs";

export const NETWORKS = ["switch", "bridge", "loopback"];

/**
 * A network is `{ kind, places, hub, can, setLink, setPair, report, close }`:
 *
 * - `places`: by name `{ ip, manageIp, prefix }`, where `ip` is for pieces and schedulers, `manageIp` for health and metrics, which no
 *   fault touches, and `prefix` is a command line that runs a program there;
 * - `hub`: `{ prefix }` of a place from which every `manageIp` can be reached;
 * - `can`: the set of `cut`, `rate`, `loss`, `delay` that it can do;
 * - `setLink(name, { lossPercent, delayMs, rateMbit })`: of everything that one place sends and receives;
 * - `setBlocked(pairs)`: exactly these pairs of places cannot reach each other from now on.
 *
 * @param {{ kind?: string, names: string[], directory: string, start: number }} options - `kind`: one of `NETWORKS`; unless given the
 *   first that can be had
 */
export async function openNetwork({ kind, names, directory, start }) {
  const chosen = kind ?? choose();
  switch (chosen) {
    case "switch":
      return await openSwitchedNetwork({ names, directory, start });
    case "bridge":
      return openBridgedNetwork({ names });
    default:
      return openLoopbackNetwork({ names });
  }
}

function choose() {
  if (whyNoNamespaces() !== undefined) return "loopback";
  return whyNoSwitch() === undefined ? "switch" : "bridge";
}
