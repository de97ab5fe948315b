/** A flag of the command line. */
export interface Flag {
  readonly name: string;
  readonly short?: string;
  /** What its value is called in the help; absent: it takes none. */
  readonly valueName?: string;
  readonly help: string;
  /** The setting it gives; absent: it is about the process, not a setting. */
  readonly setting?: string;
  /** The value that giving it means, for a flag without one. */
  readonly settingValue?: unknown;
}

/** Every flag of `dfdaemon`, in the order of the help. Those that give a setting are shorthands of `--set`. */
export const FLAGS: readonly Flag[] = [
  {
    name: "config",
    short: "c",
    valueName: "FILE",
    help: "settings (default /etc/dragonfly/dfdaemon.yaml; env DFDAEMON_CONFIG)",
  },
  {
    name: "dynconfig",
    valueName: "FILE",
    help: "names schedulers (dynconfig.path; env DFDAEMON_DYNCONFIG)",
    setting: "dynconfig.path",
  },
  {
    name: "set",
    valueName: "KEY=VALUE",
    help: "one setting, as in --set storage.server.protocol=grpc; repeatable",
  },
  {
    name: "storage-dir",
    valueName: "DIR",
    help: "where content is kept (storage.dir)",
    setting: "storage.dir",
  },
  {
    name: "socket",
    valueName: "PATH",
    help: "where dfget finds the daemon (download.server.socketPath)",
    setting: "download.server.socketPath",
  },
  {
    name: "protocol",
    valueName: "NAME",
    help: "auto, quic, tcp or grpc, for pieces (storage.server.protocol)",
    setting: "storage.server.protocol",
  },
  {
    name: "scheduler",
    valueName: "HOST:PORT",
    help: "a scheduler to ask; repeatable (scheduler.addrs)",
    setting: "scheduler.addrs",
  },
  {
    name: "seed",
    help: "fetch from origins for the others (seedPeer.enable)",
    setting: "seedPeer.enable",
    settingValue: true,
  },
  {
    name: "log-level",
    short: "l",
    valueName: "LEVEL",
    help: "trace, debug, info, warn or error (info; env DFDAEMON_LOG_LEVEL)",
  },
  {
    name: "log-dir",
    valueName: "DIR",
    help: "write dfdaemon.log into this directory (env DFDAEMON_LOG_DIR)",
  },
  {
    name: "log-max-files",
    valueName: "COUNT",
    help: "full ones kept beside it (default 6; env DFDAEMON_LOG_MAX_FILES)",
  },
  {
    name: "log-max-file-size",
    valueName: "SIZE",
    help: "when one is full (default 1GiB; env DFDAEMON_LOG_MAX_FILE_SIZE)",
  },
  { name: "console", help: "write the log to the terminal (env DFDAEMON_CONSOLE)" },
  { name: "version", short: "V", help: "print the version and end" },
  { name: "help", short: "h", help: "print this and end" },
];

/** What `dfdaemon --help` prints. */
export function formatHelp(): string {
  const names = FLAGS.map(({ name, short, valueName }) => {
    const long = valueName === undefined ? `--${name}` : `--${name} ${valueName}`;
    return short === undefined ? `      ${long}` : `  -${short}, ${long}`;
  });
  const width = Math.max(...names.map((name) => name.length)) + 2;
  const lines = FLAGS.map(({ help }, index) => `${names[index]!.padEnd(width)}${help}`);
  return `Usage: dfdaemon [flags]
       dfdaemon certs init|issue|renew|show|revoke [flags]
                                    make certificates; see dfdaemon certs --help
       dfdaemon cache list|pin|unpin|rm|gc [flags]
                                    what is stored here; see dfdaemon cache --help

Serves files to this machine's dfget and to other daemons.

${lines.join("\n")}

Every setting can be given in the file, as an environment variable
(storage.server.protocol is DFDAEMON_STORAGE_SERVER_PROTOCOL) or with --set.
Flags win over the environment, the environment over the file.
SIGHUP has the certificates looked at; SIGTERM ends the daemon.
`;
}
