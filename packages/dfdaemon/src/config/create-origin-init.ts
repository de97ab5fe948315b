import { readFile } from "node:fs/promises";
import { SettingsError } from "@damselfly/settings";
import type { WorkerOriginInit } from "../data-plane/processes/protocol.ts";
import { messageOf } from "../message-of.ts";
import type { ProxySettings } from "../origins/proxies.ts";
import { VERSION } from "../version.ts";
import type { Config } from "./config.ts";

/**
 * How origins are read, wherever that is done: all that settings and environment say of it.
 *
 * @throws {SettingsError} `ERR_SETTINGS_FILE` when the file of their authorities cannot be read
 */
export async function createOriginInit(
  backend: Config["backend"],
  proxy: ProxySettings | undefined,
): Promise<WorkerOriginInit> {
  const { requestHeader, caCert, insecureSkipVerify: insecure } = backend;
  return {
    userAgent: `damselfly/${VERSION}`,
    requestHeader,
    ...(caCert === "" ? {} : { caCert: await readAuthorities(caCert) }),
    insecure,
    ...(proxy === undefined ? {} : { proxy }),
  };
}

async function readAuthorities(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new SettingsError(
      "ERR_SETTINGS_FILE",
      `Cannot read the authorities of origins (backend.caCert): ${messageOf(error)}`,
      { cause: error },
    );
  }
}
