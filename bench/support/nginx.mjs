// nginx with one file, if there is an nginx: a better origin for curl than a Node process.
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { once } from "node:events";
import { basename, dirname, join } from "node:path";
import { Child, ChildError } from "../../scripts/demo/child.mjs";

/** @returns its version, or `undefined` if it is not installed */
export function findNginx() {
  const { status, stderr } = spawnSync("nginx", ["-v"], { encoding: "utf8" });
  return status === 0 ? stderr.trim().replace("nginx version: ", "") : undefined;
}

/**
 * Serves the directory of `path` from one worker process.
 *
 * @param options.directory - for what nginx needs; made
 * @param options.prefix - a command line that runs the program, in a network namespace say
 */
export async function openNginx({ path, directory, ip, prefix = [] }) {
  mkdirSync(directory);
  const port = await findFreePort();
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  const config = join(directory, "nginx.conf");
  writeFileSync(
    config,
    `daemon off;
master_process off;
pid ${directory}/nginx.pid;
error_log stderr warn;
events { worker_connections 256; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  default_type application/octet-stream;
  ${temporary.map((name) => `${name}_temp_path ${directory}/${name};`).join("\n  ")}
  server { listen ${ip}:${port}; root ${dirname(path)}; }
}
`,
  );
  const nginx = ["nginx", "-e", "stderr", "-p", directory, "-c", config];
  const child = new Child("nginx", [...prefix, ...nginx]);
  const url = `http://${ip}:${port}/${basename(path)}`;
  await untilServed(url, child, prefix);
  return { url, pid: child.pid, close: () => child.stop() };
}

async function untilServed(url, child, prefix) {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const look = ["curl", "-sfI", "--noproxy", "*", "-o", "/dev/null", url];
    try {
      await new Child("curl", [...prefix, ...look]).success();
      return;
    } catch (error) {
      if (!(error instanceof ChildError)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  throw child.failure("does not serve");
}

/** On our own loopback: free there is most likely free in a namespace that holds nothing else. */
async function findFreePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}
