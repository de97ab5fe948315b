// The other end of peer-process.mjs.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { undoAtExit } from "../cleanup.mjs";
import { inNamespace } from "../namespaces.mjs";

const PROGRAM = fileURLToPath(new URL("peer-process.mjs", import.meta.url));

/** Thrown by `Peer.call` when the answer does not come in time. */
export class NotInTime extends Error {
  name = "NotInTime";
}

/** A process that serves or fetches pieces, in a network namespace (undefined: in ours). */
export class Peer {
  #child;
  #calls = new Map();
  #nextId = 0;
  #ended;
  #forget;

  constructor(namespace) {
    const command = inNamespace(namespace, [process.execPath, "--expose-gc", PROGRAM]);
    const stdio = ["ignore", "inherit", "inherit", "ipc"];
    this.#child = spawn(command[0], command.slice(1), { stdio, serialization: "advanced" });
    this.#forget = undoAtExit(() => this.#child.kill("SIGKILL"));
    this.#child.on("message", (answer) => this.#hear(answer));
    this.#ended = new Promise((resolve) => {
      this.#child.once("error", (error) => resolve(error.message));
      this.#child.once("exit", (code, signal) => resolve(`it ended with ${code ?? signal}`));
    });
    void this.#ended.then((how) => {
      for (const id of this.#calls.keys()) {
        const { method, reject } = this.#settle(id);
        reject(new Error(`A process of the measurement cannot ${method}: ${how}`));
      }
    });
  }

  get pid() {
    return this.#child.pid;
  }

  /**
   * @throws {NotInTime}
   * @throws {Error} what went wrong there, or that the process has ended
   */
  call(method, options = {}, timeoutMs = 30_000) {
    this.#nextId += 1;
    const id = this.#nextId;
    return new Promise((resolve, reject) => {
      const expire = () =>
        this.#settle(id)?.reject(new NotInTime(`No answer to ${method} in ${timeoutMs} ms`));
      const timer = setTimeout(expire, timeoutMs);
      this.#calls.set(id, { method, resolve, reject, timer });
      this.#child.send({ id, method, options }, (error) => {
        if (error !== null) this.#settle(id)?.reject(error);
      });
    });
  }

  kill(signal = "SIGKILL") {
    this.#child.kill(signal);
  }

  /** Ends the process, whatever it is doing, and resolves when it is gone. */
  async end() {
    this.#forget();
    await this.#ended;
  }

  #hear({ id, result, failure }) {
    const call = this.#settle(id);
    if (failure === undefined) call?.resolve(result);
    else call?.reject(new Error(failure));
  }

  #settle(id) {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    clearTimeout(call?.timer);
    return call;
  }
}
