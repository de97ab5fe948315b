import { readFile } from "node:fs/promises";

/** What the kernel says there; empty where it says nothing: other systems, other kernels, no right to look. */
export async function readSystemFile(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch {
    return "";
  }
}

/** `part` of `whole` in 0 to 100; 0 of nothing. */
export function percent(part: number, whole: number): number {
  return whole > 0 ? Math.min(100, Math.max(0, (part / whole) * 100)) : 0;
}
