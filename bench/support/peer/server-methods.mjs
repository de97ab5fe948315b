// The side that has the pieces.
import { findBackend } from "../backends.mjs";
import { syntheticSource } from "./synthetic-source.mjs";

const servers = [];

export const serverMethods = {
  /** @returns where children find it, as `ParentAddress` has it */
  async serve({ backend, identity, ip, port = 0, tuning }) {
    const { serve, addressOf } = findBackend(backend);
    const address = { ip, port };
    const server = await serve({ source: syntheticSource, identity, tuning, address });
    servers.push(server);
    return { hostId: "bench", ip, port: server.address.port, ...addressOf(server, identity) };
  },
  async closeServers() {
    await Promise.all(servers.splice(0).map((server) => server[Symbol.asyncDispose]()));
  },
};
