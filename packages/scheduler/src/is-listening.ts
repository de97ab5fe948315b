import { connect } from "node:net";

/** Whether somebody accepts TCP connections there. Never rejects. */
export async function isListening(
  address: { readonly ip: string; readonly port: number },
  options: { readonly timeoutMs: number },
): Promise<boolean> {
  const socket = connect({ host: address.ip, port: address.port, timeout: options.timeoutMs });
  try {
    return await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true));
      socket.once("timeout", () => resolve(false));
      socket.once("error", () => resolve(false));
    });
  } finally {
    socket.destroy();
  }
}
