import process from "node:process";
import { fileURLToPath } from "node:url";
import { openLog } from "@damselfly/settings";
import { loadConfig } from "./config/load-config.ts";
import type { RunOptions } from "./config/parse-arguments.ts";
import { QuietCollector } from "./quiet-collector.ts";
import { countWorkers } from "./data-plane/count-workers.ts";
import { spawnWorker } from "./data-plane/processes/control/worker-process.ts";
import { WorkersAhead } from "./data-plane/processes/control/workers-ahead.ts";
import { keepCode } from "./keep-code.ts";
import { messageOf } from "./message-of.ts";
import type { ProxySettings } from "./origins/proxies.ts";
import { tuneCollector } from "./tune-collector.ts";

/** `dfdaemon` with nothing but flags: runs the daemon until a signal stops it; resolves with the exit code. */
export async function runCommand(options: RunOptions): Promise<number> {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGQUIT"] as const) {
    process.on(signal, () => {
      // The second time somebody is in a hurry.
      if (stop.signal.aborted) process.exit(1);
      stop.abort(new Error(`stopped by ${signal}`));
    });
  }
  let reload: () => void = () => {};
  process.on("SIGHUP", () => {
    // Who closes the terminal that this runs in wants it to end.
    if (process.stderr.isTTY) stop.abort(new Error("stopped by SIGHUP"));
    else reload();
  });
  try {
    const { config, warnings, inert, notes } = await loadConfig({
      path: options.configPath,
      pathGiven: options.configPathGiven,
      env: process.env,
      flags: options.flags,
    });
    const workerCount = countWorkers(config);
    // Where content does not come through this process, it is collected as any other.
    if (workerCount === 0) tuneCollector();
    keepCode();
    using _ = new QuietCollector();
    using workers = new WorkersAhead(workerCount, () =>
      spawnWorker(WORKER_PATH, config.storage.dir),
    );
    // Most of what a daemon is made of: it loads while they do.
    const { runDaemon } = await import("./run.ts");
    const logger = openLog({
      name: "dfdaemon",
      level: options.logLevel,
      directory: options.logDir,
      olderFilesMax: options.logMaxFiles,
      fileLengthMax: options.logMaxFileSize,
      console: options.console,
      isTerminal: process.stderr.isTTY,
    });
    for (const sentence of [...warnings, ...notes]) logger.warn({}, sentence);
    if (inert.length > 0)
      logger.warn(
        {},
        `settings without effect here:\n${inert.map((line) => `  ${line}`).join("\n")}`,
      );
    process.on("unhandledRejection", (error) => {
      logger.error({}, `a failure that nobody took care of, please report it: ${messageOf(error)}`);
    });
    await runDaemon(config, {
      logger,
      signal: stop.signal,
      proxy: proxySettings(process.env),
      instanceName: podName(process.env),
      spawnWorker: () => workers.take(),
      onReady: (daemon) => {
        reload = () => void daemon.reload();
      },
    });
    return 0;
  } catch (error) {
    process.stderr.write(`dfdaemon: ${messageOf(error)}\n`);
    return 1;
  }
}

const WORKER_PATH = fileURLToPath(
  new URL("./data-plane/processes/worker/main.js", import.meta.url),
);

/** As Dragonfly's daemons call themselves in Kubernetes. */
function podName(env: NodeJS.ProcessEnv): string | undefined {
  const { POD_NAMESPACE: namespace = "", POD_NAME: name = "" } = env;
  return namespace === "" || name === "" ? undefined : `${namespace}-${name}`;
}

/** As curl reads them: lower case wins. */
function proxySettings(env: NodeJS.ProcessEnv): ProxySettings {
  const httpProxy = env["http_proxy"] ?? env["HTTP_PROXY"];
  const httpsProxy = env["https_proxy"] ?? env["HTTPS_PROXY"];
  const noProxy = env["no_proxy"] ?? env["NO_PROXY"];
  return {
    ...(httpProxy === undefined ? {} : { httpProxy }),
    ...(httpsProxy === undefined ? {} : { httpsProxy }),
    ...(noProxy === undefined ? {} : { noProxy }),
  };
}
