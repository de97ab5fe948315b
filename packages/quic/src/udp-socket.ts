import type { QuicAddress } from "./quic.ts";

/** Room in a send buffer, in bytes: the most that one call of the kernel takes for several datagrams at once. */
export const SEND_BUFFER_LENGTH = 65_536;

/** How an endpoint's datagrams reach the network. One implementation per way of doing that. */
export interface UdpSocket {
  readonly address: QuicAddress;
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
}

export interface UdpSocketOptions {
  readonly address: QuicAddress;
  /** Asked of the kernel for each direction, in bytes. */
  readonly bufferLength: number;
  /** One datagram, which belongs to the callee: it is decrypted in place. */
  readonly onMessage: (datagram: Buffer, ip: string, port: number) => void;
  readonly onError: (error: Error, ip: string, port: number) => void;
  /** The kernel gave less than `bufferLength` for receiving: bursts will be lost. */
  readonly onSmallBuffer: (bufferLength: number) => void;
}

/** @throws the system's error when the address cannot be bound */
export type UdpSocketFactory = (options: UdpSocketOptions) => Promise<UdpSocket>;
