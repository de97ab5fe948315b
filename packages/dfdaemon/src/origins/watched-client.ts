import type { Socket } from "node:net";
import { type buildConnector, Client, type Dispatcher } from "undici";

/** Reads an answer from the connection of a `WatchedClient`. */
export interface AnswerListener {
  /** The client that will send the request. Call `readBy` when it does. */
  onClient(connection: WatchedConnection): void;
  /** Nothing more will come. The parser may be paused no more: undici cannot end a paused one. */
  onConnectionEnd(): void;
}

/** The one connection of a client, whoever reads from it. */
export interface WatchedConnection {
  readBy(listener: AnswerListener): void;
}

/** With whom the client is to speak besides the handler, which other dispatchers wrap on its way. */
export interface WatchedDispatchOptions extends Dispatcher.DispatchOptions {
  readonly answerListener?: AnswerListener;
}

/**
 * undici's client, but for what it makes of the end of a connection where the answer does not keep it alive (7.30.2, client-h1.js):
 *
 * - it takes a reset for the end of a body whose end is that of the connection: half a file would count as one;
 * - it throws, where nobody can catch it, when the end comes while the parser is paused, which is whenever the disk is slower than the
 *   network for a moment: a server that hangs up would end the daemon.
 *
 * Listeners of our own hear of both first.
 */
export class WatchedClient extends Client {
  readonly #connection: Connection;

  /** @param options as a `Pool` gives them to its factory: `connect` is a function */
  constructor(url: URL | string, options: Client.Options) {
    const { connect } = options;
    if (typeof connect !== "function")
      throw new TypeError("Cannot watch connections: there is no function that makes them");
    const connection = new Connection();
    super(url, { ...options, connect: watching(connect, connection) });
    this.#connection = connection;
  }

  override dispatch(options: WatchedDispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    options.answerListener?.onClient(this.#connection);
    return super.dispatch(options, handler);
  }
}

class Connection implements WatchedConnection {
  #listener: AnswerListener | undefined;

  readBy(listener: AnswerListener): void {
    this.#listener = listener;
  }

  watch(socket: Socket): void {
    socket.on("end", () => this.#listener?.onConnectionEnd());
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ECONNRESET") error.code = CONNECTION_RESET;
    });
  }
}

/** In the place of ECONNRESET, by which undici knows a reset. */
export const CONNECTION_RESET = "ERR_CONNECTION_RESET";

function watching(
  connect: buildConnector.connector,
  connection: Connection,
): buildConnector.connector {
  return (options, callback) =>
    connect(options, (...outcome) => {
      const [error, socket] = outcome;
      if (error === null) connection.watch(socket);
      callback(...outcome);
    });
}
