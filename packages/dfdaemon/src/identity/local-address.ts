import { networkInterfaces } from "node:os";

/** As much of `os.networkInterfaces()` as it takes to choose an address. */
export type Interfaces = Readonly<
  Record<
    string,
    | readonly { readonly address: string; readonly family: string; readonly internal: boolean }[]
    | undefined
  >
>;

/**
 * The address others most likely reach this host at: the first one that is neither loopback nor link-local, of the family asked
 * for, else of the other. With no network at all, 127.0.0.1.
 */
export function findLocalAddress(
  options: { readonly ipv6?: boolean; readonly interfaces?: Interfaces } = {},
): string {
  const all = Object.values(options.interfaces ?? networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ address, internal }) => !internal && !LINK_LOCAL.test(address));
  const family = options.ipv6 ? "IPv6" : "IPv4";
  return (all.find((one) => one.family === family) ?? all[0])?.address ?? "127.0.0.1";
}

/** RFC 3927 and RFC 4291, section 2.5.6. */
const LINK_LOCAL = /^(169\.254\.|fe[89ab][0-9a-f]:)/i;
