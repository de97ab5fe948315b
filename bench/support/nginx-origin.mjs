// nginx with one file, if there is an nginx.
import { createServer } from "node:net";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { spawnSync } from "node:child_process";
import { Child } from "../../scripts/demo/child.mjs";

/** @returns its version, or `undefined` if it is not installed */
export function findNginx() {
  const { status, stderr } = spawnSync("nginx", ["-v"], { encoding: "utf8" });
  return status === 0 ? stderr.trim().replace("nginx version: ", "") : undefined;
}

/** Serves the directory of `path` from one worker process. */
export async function openNginx(path) {
  const directory = join(dirname(path), "nginx");
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
  server { listen 127.0.0.1:${port}; root ${dirname(path)}; }
}
`,
  );
  const child = new Child("nginx", ["nginx", "-e", "stderr", "-p", directory, "-c", config]);
  const url = `http://127.0.0.1:${port}/${path.slice(dirname(path).length + 1)}`;
  await untilServed(url, child);
  return { url, pid: child.pid, close: () => child.stop() };
}

async function untilServed(url, child) {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const isServed = await fetch(url, { method: "HEAD" }).then(
      (response) => response.ok,
      () => false,
    );
    if (isServed) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw child.failure("does not serve");
}

async function findFreePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}
