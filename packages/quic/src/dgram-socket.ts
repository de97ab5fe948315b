import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { isIPv6 } from "node:net";
import { platform } from "node:os";
import { findSocketFd } from "./find-socket-fd.ts";
import { forbidFragments } from "./forbid-fragments.ts";
import { loadLibc } from "./load-libc.ts";
import type { QuicAddress } from "./quic.ts";
import {
  SEND_BUFFER_LENGTH,
  type UdpCounters,
  type UdpSocket,
  type UdpSocketOptions,
} from "./udp-socket.ts";

/** A plain `node:dgram` socket: works everywhere, one system call a datagram each way. */
export async function openDgramSocket(options: UdpSocketOptions): Promise<DgramSocket> {
  const family = isIPv6(options.address.ip) ? 6 : 4;
  const socket = createSocket({
    type: family === 6 ? "udp6" : "udp4",
    recvBufferSize: options.bufferLength,
    sendBufferSize: options.bufferLength,
    // Addresses are literals. Answering at once makes the send synchronous and saves half a microsecond of it.
    lookup: (host, _options, callback) => callback(null, host, family),
  });
  const listening = once(socket, "listening"); // before bind, which answers at once
  try {
    socket.bind(options.address.port, options.address.ip);
    await listening;
  } catch (error) {
    socket.close();
    throw error;
  }
  const factor = platform() === "linux" ? 2 : 1; // Linux reports twice what it grants
  const receive = socket.getRecvBufferSize() / factor;
  const send = socket.getSendBufferSize() / factor;
  if (Math.min(receive, send) < options.bufferLength) options.onSmallBuffer({ receive, send });
  return new DgramSocket(socket, options, await isMadeFragmentFree(socket));
}

/** Node has no option for it, so it takes what `gso` takes; where that is missing, the kernel may cut datagrams up. */
async function isMadeFragmentFree(socket: Socket): Promise<boolean> {
  const { address: ip, port } = socket.address();
  try {
    const libc = await loadLibc();
    return forbidFragments(libc, findSocketFd(libc, { ip, port }), ip);
  } catch {
    return false; // who sends keeps to lengths that need no fragments
  }
}

/** Spare send buffers kept; more are given to the garbage collector. 2 MiB. */
const SPARE_COUNT_MAX = 32;

export class DgramSocket implements UdpSocket {
  readonly address: QuicAddress;
  readonly isFragmentFree: boolean;
  readonly #socket: Socket;
  readonly #options: UdpSocketOptions;
  readonly #spare: Uint8Array[] = [];
  #sendCallCount = 0;
  #sendErrorCount = 0;
  #receiveCallCount = 0;
  #unsentCount = 0;
  #closing: Promise<void> | undefined;

  constructor(socket: Socket, options: UdpSocketOptions, isFragmentFree: boolean) {
    const bound = socket.address();
    this.address = { ip: bound.address, port: bound.port };
    this.#socket = socket;
    this.#options = options;
    this.isFragmentFree = isFragmentFree;
    socket.on("message", (datagram, from) => {
      this.#receiveCallCount++;
      options.onMessage(datagram, from.address, from.port);
    });
    socket.on("error", (error) => options.onError(error, "", 0, 0));
  }

  get counters(): UdpCounters {
    return {
      sendCallCount: this.#sendCallCount,
      sendErrorCount: this.#sendErrorCount,
      receiveCallCount: this.#receiveCallCount,
    };
  }

  /** Whether something given to `send` may still be waiting for room in the kernel. */
  get isSending(): boolean {
    return this.#unsentCount > 0;
  }

  takeBuffer(): Uint8Array {
    // Not zeroed: it is filled before it is sent.
    return this.#spare.pop() ?? new Uint8Array(Buffer.allocUnsafeSlow(SEND_BUFFER_LENGTH).buffer);
  }

  returnBuffer(buffer: Uint8Array): void {
    if (this.#spare.length < SPARE_COUNT_MAX) this.#spare.push(buffer);
  }

  send(buffer: Uint8Array, length: number, segmentLength: number, ip: string, port: number): void {
    if (this.#closing !== undefined) return;
    const onDone = (error: Error | null, sentLength: number = segmentLength): void => {
      if (error === null) return;
      this.#sendErrorCount++;
      if (this.#closing === undefined) this.#options.onError(error, ip, port, sentLength);
    };
    const onSent = (error: Error | null): void => onDone(error);
    let offset = 0;
    for (; offset + segmentLength < length; offset += segmentLength) {
      this.#sendCallCount++;
      this.#socket.send(buffer, offset, segmentLength, port, ip, onSent);
    }
    const lastLength = length - offset;
    this.#sendCallCount++;
    this.#unsentCount++;
    // Datagrams leave in order, so the buffer is free when its last one has left.
    this.#socket.send(buffer, offset, lastLength, port, ip, (error) => {
      this.#unsentCount--;
      this.returnBuffer(buffer);
      onDone(error, lastLength);
    });
  }

  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => this.#socket.close(resolve));
    return this.#closing;
  }
}
