import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";

export interface BadPath {
  /** What is dialled to reach the target. */
  readonly port: number;
  /** Chance of each datagram to get lost, each way, 0 to 1. */
  loss: number;
  /** Each way, in milliseconds. */
  delayMs: number;
  /** Nothing passes. */
  isCut: boolean;
  close(): Promise<void>;
}

/** A UDP relay on this machine in front of a port, for any number of clients, that delays and loses datagrams. */
export async function openBadPath(
  targetPort: number,
  options: { readonly loss?: number; readonly delayMs?: number } = {},
): Promise<BadPath> {
  const front = await bind();
  /** By client port: what the target sees of it. */
  const backs = new Map<number, Promise<Socket>>();
  // The same losses every time: no test is to depend on luck.
  let state = 1;
  const isLost = (): boolean => {
    state = Math.imul(state, 48_271) % 0x7fffffff;
    return Math.abs(state) / 0x7fffffff < path.loss || path.isCut;
  };
  let isClosed = false;
  const pass = (socket: Socket, datagram: Buffer, port: number): void => {
    if (isLost()) return;
    const send = (): void => {
      if (!isClosed) socket.send(datagram, port, "127.0.0.1");
    };
    if (path.delayMs === 0) send();
    else setTimeout(send, path.delayMs);
  };
  const openBack = async (clientPort: number): Promise<Socket> => {
    const back = await bind();
    back.on("message", (datagram) => pass(front, datagram, clientPort));
    return back;
  };
  front.on("message", (datagram, { port }) => {
    const back = backs.get(port) ?? openBack(port);
    backs.set(port, back);
    void back.then((socket) => pass(socket, datagram, targetPort));
  });
  const path: BadPath = {
    port: front.address().port,
    loss: options.loss ?? 0,
    delayMs: options.delayMs ?? 0,
    isCut: false,
    async close() {
      isClosed = true;
      front.close();
      for (const back of backs.values()) (await back).close();
    },
  };
  return path;
}

async function bind(): Promise<Socket> {
  const socket = createSocket("udp4").bind(0, "127.0.0.1");
  await once(socket, "listening");
  // As much as the kernel gives: the losses are to be those asked for.
  socket.setRecvBufferSize(4 * 1024 * 1024);
  socket.setSendBufferSize(4 * 1024 * 1024);
  return socket;
}
