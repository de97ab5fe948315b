import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { LOOPBACK } from "../../support/daemon.ts";

/** Below what systems hand out for outgoing connections, so that nobody takes a port between this and its use. */
const FIRST = 10_240;
const COUNT = 20_000;

let next = FIRST + Math.floor(Math.random() * COUNT);

/** Ports that neither TCP nor UDP uses on 127.0.0.1 now: Dragonfly's programs cannot pick one themselves. */
export async function takeFreePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) {
    const port = next;
    next = next + 1 < FIRST + COUNT ? next + 1 : FIRST;
    if (!(await isRemembered(port)) && (await isFree(port))) ports.push(port);
  }
  return ports;
}

/** Whether the kernel still knows a connection of this port, though nobody serves there: Dragonfly's daemon cannot either, for a minute. */
async function isRemembered(port: number): Promise<boolean> {
  const table = await readFile("/proc/net/tcp", "utf8").catch(() => "");
  return table.includes(`:${port.toString(16).toUpperCase().padStart(4, "0")} `);
}

async function isFree(port: number): Promise<boolean> {
  const tcp = createServer();
  const udp = createSocket("udp4");
  try {
    tcp.listen(port, LOOPBACK);
    await once(tcp, "listening");
    udp.bind(port, LOOPBACK);
    await once(udp, "listening");
    return true;
  } catch {
    return false;
  } finally {
    if (tcp.listening) tcp.close();
    udp.close();
  }
}
