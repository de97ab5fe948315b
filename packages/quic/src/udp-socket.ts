import type { QuicAddress } from "./quic.ts";

/**
 * Room in a send buffer, in bytes: about the most that one call of the kernel takes for several datagrams at once,
 * which is what fits an IP packet with its headers.
 */
export const SEND_BUFFER_LENGTH = 65_000;

/** How an endpoint's datagrams reach the network. One implementation per way of doing that. */
export interface UdpSocket {
  readonly address: QuicAddress;
  /** Whether datagrams that are too long for the path are lost rather than cut up on the way. */
  readonly isFragmentFree: boolean;
  /** Hands out `SEND_BUFFER_LENGTH` bytes to fill; they come back through `send` or `returnBuffer`. */
  takeBuffer(): Uint8Array;
  returnBuffer(buffer: Uint8Array): void;
  /**
   * Sends the first `length` bytes as datagrams of `segmentLength` bytes, the last one possibly shorter, to one
   * address. The buffer belongs to the socket from here on. A datagram that cannot be sent is dropped, as the
   * network would, and told to `onError`.
   */
  send(buffer: Uint8Array, length: number, segmentLength: number, ip: string, port: number): void;
  readonly counters: UdpCounters;
  /** Resolves when the port is free again. */
  close(): Promise<void>;
}

export interface UdpCounters {
  readonly sendCallCount: number;
  readonly sendErrorCount: number;
  /** Messages taken from the kernel: several datagrams each, where it puts them together. */
  readonly receiveCallCount: number;
}

export interface UdpSocketOptions {
  readonly address: QuicAddress;
  /** Asked of the kernel for each direction, in bytes. */
  readonly bufferLength: number;
  /** One datagram. Its memory is the callee's, to decrypt in, until it returns; then it is used again. */
  readonly onMessage: (datagram: Buffer, ip: string, port: number) => void;
  /** `length` is that of the datagram that was not sent, where it is known, otherwise 0. */
  readonly onError: (error: Error, ip: string, port: number, length: number) => void;
  /** The kernel gave less than `bufferLength` one way or the other: bursts will be lost. Called once at most. */
  readonly onSmallBuffer: (granted: { readonly receive: number; readonly send: number }) => void;
  /** Whether this is the id of a connection here, 16 bytes as latin1: what datagrams put together are cut by. */
  readonly isOwnId?: ((key: string) => boolean) | undefined;
  /** From here on, and for the reason given, datagrams leave one by one. */
  readonly onPlain?: ((cause: Error) => void) | undefined;
}

/** @throws the system's error when the address cannot be bound */
export type UdpSocketFactory = (options: UdpSocketOptions) => Promise<UdpSocket>;
