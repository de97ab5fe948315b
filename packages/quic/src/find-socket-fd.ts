import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import type { Libc } from "./load-libc.ts";
import type { QuicAddress } from "./quic.ts";
import { toProcAddress, toSocketAddress } from "./socket-address.ts";

/**
 * Finds this process's file descriptor of a bound UDP socket by the way the kernel shows it: its address leads to
 * an inode, the inode to a descriptor. Node has the number too, but only where no program should look. Synchronous:
 * nothing here waits for a disk, and a trip to another thread for each descriptor takes long on a busy machine.
 *
 * @throws {Error} if there is none, or more than one
 */
export function findSocketFd(libc: Libc, { ip, port }: QuicAddress): number {
  const bound = toSocketAddress(libc, ip, port);
  if (bound === undefined) throw new Error(`Cannot find the socket at ${ip}: it has a zone`);
  const procAddress = toProcAddress(bound);
  const table = readFileSync(`/proc/self/net/udp${ip.includes(":") ? "6" : ""}`, "utf8");
  const links = new Set<string>();
  for (const line of table.split("\n")) {
    // Columns: number, local address, remote address, state, queues, timer, retransmits, uid, timeout, inode.
    const columns = line.trim().split(/\s+/);
    if (columns[1] === procAddress && columns[9] !== undefined) links.add(`socket:[${columns[9]}]`);
  }
  const found: number[] = [];
  for (const fd of readdirSync("/proc/self/fd")) {
    try {
      if (links.has(readlinkSync(`/proc/self/fd/${fd}`))) found.push(Number(fd));
    } catch {
      // Closed since it was listed: not the one, which is open.
    }
  }
  const [fd] = found;
  if (fd === undefined || found.length > 1) {
    throw new Error(`Cannot find the socket at ${procAddress}: ${found.length} descriptors fit`);
  }
  return fd;
}
