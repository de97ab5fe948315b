import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { decodeInputs, encodeInputs } from "./input-list.ts";

/**
 * What a process is running, on disk before it runs: whoever finds the process dead or stuck reads there what it was doing. The group
 * before is kept as well, for what goes wrong late.
 */
export class FlightRecord {
  readonly #files: readonly number[];
  #turn = 0;

  private constructor(files: readonly number[]) {
    this.#files = files;
  }

  static open(directory: string): FlightRecord {
    return new FlightRecord(NAMES.map((name) => openSync(join(directory, name), "w")));
  }

  /** Synchronous, for the process may be gone a moment later. */
  write(inputs: readonly Uint8Array[]): void {
    this.#turn++;
    const file = this.#files[this.#turn % this.#files.length];
    if (file === undefined) return;
    const turn = Buffer.alloc(4);
    turn.writeUInt32BE(this.#turn);
    const bytes = Buffer.concat([turn, encodeInputs(inputs)]);
    writeSync(file, bytes, 0, bytes.byteLength, 0);
    ftruncateSync(file, bytes.byteLength);
  }

  close(): void {
    for (const file of this.#files) closeSync(file);
  }
}

/** The last groups of inputs that were begun, the latest one last. */
export function readFlightRecord(directory: string): readonly (readonly Uint8Array[])[] {
  return NAMES.map((name) => readFileSync(join(directory, name)))
    .filter((bytes) => bytes.byteLength >= 4)
    .toSorted((left, right) => left.readUInt32BE(0) - right.readUInt32BE(0))
    .map((bytes) => decodeInputs(bytes.subarray(4)));
}

const NAMES = ["flight-0", "flight-1"] as const;
