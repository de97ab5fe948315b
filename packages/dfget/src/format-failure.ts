import { STATUS_CODES } from "node:http";

import type { DfgetError, DfgetErrorCode } from "./errors.ts";
import { printable, printableUrl } from "./printable.ts";

/**
 * The block that explains a failure: a title, then what there is to say, one fact a line. Ends with a line break.
 * Everything that came over the network is made printable; credentials in the URL and cookies are left out.
 */
export function formatFailure(
  error: DfgetError,
  context: {
    readonly url?: string;
    readonly secretParams?: Iterable<string>;
    readonly color: boolean;
  },
): string {
  const { origin } = error;
  const facts: (readonly [name: string, value: string])[] = [["Error", printable(error.message)]];
  if (context.url !== undefined)
    facts.push(["URL", printableUrl(context.url, context.secretParams ?? [])]);
  if (origin?.statusCode !== undefined) facts.push(["Origin", formatStatus(origin.statusCode)]);
  if (origin !== undefined && origin.message !== "" && !error.message.includes(origin.message))
    facts.push(["Message", printable(origin.message)]);
  const headers = Object.entries(origin?.header ?? {}).filter(
    ([name]) => !SECRET_HEADERS.has(name.toLowerCase()),
  );
  for (const [index, [name, value]] of headers.slice(0, HEADERS_MAX).entries()) {
    facts.push([
      index === 0 ? "Headers" : "",
      `${printable(name)}: ${printable(value).slice(0, HEADER_LENGTH_MAX)}`,
    ]);
  }
  if (headers.length > HEADERS_MAX) facts.push(["", `and ${headers.length - HEADERS_MAX} more`]);
  facts.push([
    "Code",
    error.status === undefined
      ? error.code
      : `${error.code}, daemon's status ${printable(error.status)}`,
  ]);

  const title = TITLES[error.code];
  const [bold, plain] = context.color ? ["\u001b[1;31m", "\u001b[0m"] : ["", ""];
  return `${bold}${title}${plain}\n${facts.map(([name, value]) => `  ${name.padEnd(8)} ${value}\n`).join("")}`;
}

const TITLES: Readonly<Record<DfgetErrorCode, string>> = {
  ERR_USAGE: "Wrong Usage!",
  ERR_OUTPUT: "Writing Failed!",
  ERR_NO_SPACE: "Downloading Failed!",
  ERR_DAEMON_UNREACHABLE: "Connect Dfdaemon Failed!",
  ERR_DOWNLOAD: "Downloading Failed!",
  ERR_INCOMPLETE: "Downloading Failed!",
  ERR_PROTOCOL: "Downloading Failed!",
  ERR_RANGE: "Downloading Failed!",
  ERR_DIGEST_MISMATCH: "Downloading Failed!",
  ERR_TIMEOUT: "Downloading Failed!",
  ERR_INTERRUPTED: "Downloading Stopped!",
};

/** They are secrets, or of no help to whoever reads the error. */
const SECRET_HEADERS: ReadonlySet<string> = new Set([
  "set-cookie",
  "set-cookie2",
  "authorization",
  "proxy-authorization",
  "cookie",
]);
/** What an origin sends must not push the error off the screen. */
const HEADERS_MAX = 20;
const HEADER_LENGTH_MAX = 200;

function formatStatus(statusCode: number): string {
  const reason = STATUS_CODES[statusCode];
  return reason === undefined ? String(statusCode) : `${statusCode} ${reason}`;
}
