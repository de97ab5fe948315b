import { BlockList, isIP } from "node:net";

/** Forward proxies, as in the usual environment variables; empty or absent means none. */
export interface ProxySettings {
  /** For `http:` URLs, e.g. `http://user:password@proxy:3128`. */
  readonly httpProxy?: string;
  /** For `https:` URLs. Not taken over from `httpProxy`, as curl does not either. */
  readonly httpsProxy?: string;
  /** Hosts to reach directly: `*`, names with their subdomains (`example.com`, `.example.com`), addresses, CIDR blocks; each with an optional port. */
  readonly noProxy?: string;
}

/** The proxy to ask for `url`, or undefined for a direct connection. */
export function proxyFor(url: URL, settings: ProxySettings): string | undefined {
  const proxy = url.protocol === "https:" ? settings.httpsProxy : settings.httpProxy;
  if (proxy === undefined || proxy === "") return undefined;
  if (isExempt(url, settings.noProxy ?? "")) return undefined;
  return proxy.includes("://") ? proxy : `http://${proxy}`;
}

function isExempt(url: URL, noProxy: string): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, "").toLowerCase();
  const port = url.port === "" ? (url.protocol === "https:" ? "443" : "80") : url.port;
  return noProxy
    .split(/[\s,]+/)
    .some((entry) => entry !== "" && matches(entry.toLowerCase(), host, port));
}

function matches(entry: string, host: string, port: string): boolean {
  if (entry === "*") return true;
  const withPort = /^(\[[^\]]+\]|[^:]+):(\d+)$/.exec(entry);
  if (withPort !== null && withPort[2] !== port) return false;
  const name = (withPort?.[1] ?? entry).replace(/^\[|\]$/g, "").replace(/^\*?\./, "");
  if (isIP(host) !== 0) return name.includes("/") ? isInBlock(name, host) : name === host;
  return host === name || host.endsWith(`.${name}`);
}

function isInBlock(block: string, address: string): boolean {
  const [network = "", prefix = ""] = block.split("/");
  const family = isIP(network);
  const bits = Number(prefix);
  if (
    family === 0 ||
    family !== isIP(address) ||
    prefix === "" ||
    !(bits <= (family === 4 ? 32 : 128))
  )
    return false;
  const list = new BlockList();
  list.addSubnet(network, bits, family === 4 ? "ipv4" : "ipv6");
  return list.check(address, family === 4 ? "ipv4" : "ipv6");
}
