import { accessSync, constants } from "node:fs";
import { tmpdir } from "node:os";

/** Where files cost no disk, if there is such a place: most of the time would go into syncing them. */
export function memoryDirectory(): string {
  try {
    accessSync("/dev/shm", constants.W_OK);
    return "/dev/shm";
  } catch {
    return tmpdir();
  }
}
