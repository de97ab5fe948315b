/** Descriptors of a data-plane process: standard input, output and error, then these. */
/** Node's own channel, over which sockets are handed over. */
export const SOCKET_CHANNEL_FD = 3;
/** A pipe for everything else: what waits for a socket to be taken over does not hold it up. */
export const CHANNEL_FD = 4;
/** A pipe that nothing is written to: it ends with the control process. */
export const LIFELINE_FD = 5;
