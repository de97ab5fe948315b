import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { readSystemFile } from "./system-file.ts";

/** Assumed of an interface that does not say: 10 Gbit/s, as Dragonfly does. Bits a second. */
const ASSUMED_BITS_PER_SECOND = 10_000_000_000;

/** What the interface with this address moves at most, in bits a second. Virtual ones do not know. @param root - where `sys` is */
export async function findLinkSpeed(ip: string, root: string = "/"): Promise<number> {
  for (const [name, addresses = []] of Object.entries(networkInterfaces())) {
    if (!addresses.some(({ address }) => address === ip)) continue;
    const megabits = Number(await readSystemFile(join(root, "sys/class/net", name, "speed")));
    if (Number.isSafeInteger(megabits) && megabits > 0) return megabits * 1_000_000;
  }
  return ASSUMED_BITS_PER_SECOND;
}
