import type { Socket } from "node:net";
import type { SocketNote } from "../protocol.ts";
import type { RunningWorker } from "./running-worker.ts";

/** Connections that no process has taken yet; further ones are closed, for each of them holds a descriptor here. */
const UNTAKEN_COUNT_MAX = 512;

/** A process that connections are handed to. */
export type SocketTaker = Pick<RunningWorker, "ended" | "handOver" | "untaken">;

/**
 * Hands each connection to one of the processes, in turns. While there is none, it waits; those that a process has not taken when it ends
 * are handed to another one.
 */
export class SocketDispatch {
  readonly #takers: SocketTaker[] = [];
  readonly #waiting: (readonly [SocketNote, Socket])[] = [];
  #turn = 0;

  add(taker: SocketTaker): void {
    this.#takers.push(taker);
    void taker.ended.then(() => this.#remove(taker));
    for (const [note, socket] of this.#waiting.splice(0)) taker.handOver(note, socket);
  }

  take(note: SocketNote, socket: Socket): void {
    if (this.#untakenCount >= UNTAKEN_COUNT_MAX) {
      socket.destroy();
      return;
    }
    const taker = this.#takers[this.#turn++ % Math.max(this.#takers.length, 1)];
    if (taker === undefined) this.#waiting.push([note, socket]);
    else taker.handOver(note, socket);
  }

  get #untakenCount(): number {
    return this.#takers.reduce(
      (count, taker) => count + taker.untaken().length,
      this.#waiting.length,
    );
  }

  #remove(taker: SocketTaker): void {
    this.#takers.splice(this.#takers.indexOf(taker), 1);
    for (const [note, socket] of taker.untaken()) {
      // The one that was on its way went down with the process: there is no other end to it here any more.
      if (socket.remoteAddress === undefined) socket.destroy();
      else this.take(note, socket);
    }
  }
}
