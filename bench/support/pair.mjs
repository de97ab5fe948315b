import { createIdentities } from "./identities.mjs";
import { Peer } from "./peer/peer.mjs";

/**
 * A process that serves and one that can download from it, over an open path.
 *
 * @param options.serverNames - names of the server's certificate beside the common one
 * @param options.serverCount - servers in that process, each on a port of its own
 * @returns both peers, the parents to download from, and `restart()` of the server and `close()`
 */
export async function openPair(path, backend, { tuning, serverNames = [], serverCount = 1 } = {}) {
  const { serverIp: ip, serverNamespace, clientNamespace } = path;
  const identities = await createIdentities(path, serverNames);
  const pair = {
    server: new Peer(serverNamespace),
    client: new Peer(clientNamespace),
    parents: [],
  };
  const serve = (port) => {
    const identity = identities.server;
    return pair.server.call("serve", { backend: backend.name, identity, tuning, ip, port });
  };
  pair.close = async () => {
    await Promise.all([pair.client.end(), pair.server.end()]);
  };
  pair.restart = async () => {
    const { port } = pair.parents[0];
    await pair.server.end();
    pair.server = new Peer(serverNamespace);
    await serve(port);
  };
  try {
    for (let number = 0; number < serverCount; number += 1) {
      pair.parents.push(await serve(0));
    }
    const [parent] = pair.parents;
    const context = { backend: backend.name, identity: identities.client, tuning, parent };
    await pair.client.call("openDownloader", context);
    return pair;
  } catch (error) {
    await pair.close();
    throw error;
  }
}
