// The side that has the pieces.
import { findBackend } from "../backends.mjs";
import { syntheticSource } from "./synthetic-source.mjs";

const servers = [];

export const serverMethods = {
  /** @returns the ports that children are to dial */
  async serve({ backend, tls, ip, port = 0, tuning }) {
    const { serve, portsOf } = findBackend(backend);
    const server = await serve({ source: syntheticSource, tls, tuning, address: { ip, port } });
    servers.push(server);
    return await portsOf(server);
  },
  async closeServers() {
    await Promise.all(servers.splice(0).map((server) => server[Symbol.asyncDispose]()));
  },
};
