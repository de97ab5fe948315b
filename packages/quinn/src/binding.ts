/** The classes of the native layer of `@chainsafe/libp2p-quic` 1.1.8 (rust/lib.rs), as far as they are used. */
export interface QuinnBinding {
  readonly QuinnConfig: new (config: NativeConfigInit) => NativeConfig;
  /** Binds at once. The address must be an IP literal. */
  readonly Server: new (config: NativeConfig, ip: string, port: number) => NativeServer;
  /** A UDP port of its own, on every address of the family. */
  readonly Client: new (config: NativeConfig, family: NativeFamily) => NativeClient;
}

/** 0: IPv4, 1: IPv6. */
export type NativeFamily = 0 | 1;

export interface NativeConfigInit {
  /** Not used by the native layer: a handshake ends with the idle timeout. */
  readonly handshakeTimeout: number;
  /** Milliseconds; 0: none. */
  readonly maxIdleTimeout: number;
  /** Milliseconds. There is always one. */
  readonly keepAliveInterval: number;
  readonly maxConcurrentStreamLimit: number;
  readonly maxStreamData: number;
  readonly maxConnectionData: number;
  readonly receiveBufferSize: number;
  readonly sendBufferSize: number;
  /** libp2p's protobuf of a private key. */
  readonly privateKeyProto: Uint8Array;
}

export type NativeConfig = object;

export interface NativeEndpointStats {
  /** Handshakes begun with peers that dialled us. */
  readonly acceptedHandshakes: number;
}

export interface NativeServer {
  /** Waits for the next peer, and then for its handshake. Rejects when that fails, and once the server is closed. */
  inboundConnection(): Promise<NativeConnection>;
  /** Aborts the process once `abort` has been called. */
  port(): number;
  stats(): NativeEndpointStats;
  /** Closes every connection with code 0, waits until the peers know, frees the port. */
  abort(): Promise<void>;
}

export interface NativeClient {
  outboundConnection(ip: string, port: number): Promise<NativeConnection>;
  /** Closes every connection with code 0. The port is freed when the object is collected. */
  abort(): void;
}

export interface NativeConnection {
  /** Waits until the peer grants a stream. */
  outboundStream(): Promise<NativeStream>;
  /** In the order in which they were opened. */
  inboundStream(): Promise<NativeStream>;
  /** `/ip4/<ip>/udp/<port>/quic-v1/p2p/<peer id>`, the id being the one proven in the handshake. */
  remoteMultiaddr(): string;
  stats(): NativeConnectionStats;
  /** Settles when the connection is over, whoever ended it. */
  closed(): Promise<void>;
  /** Closes with code 0, dropping what has not been sent. */
  abort(): void;
}

/** Counters are of 32 bits and wrap. */
export interface NativeConnectionStats {
  readonly udpTxDatagrams: number;
  readonly udpTxBytes: number;
  readonly udpTxIos: number;
  readonly udpRxDatagrams: number;
  readonly udpRxBytes: number;
  readonly udpRxIos: number;
  /** Milliseconds. */
  readonly pathRtt: number;
  readonly pathCwnd: number;
  readonly pathLostPackets: number;
  readonly pathLostBytes: number;
  readonly pathSentPackets: number;
}

/**
 * Each way is behind a lock that is held by a call as long as it waits: `stopRead` waits for the read that waits,
 * `resetWrite` and `finishWrite` for the write.
 */
export interface NativeStream {
  /** Which stream this is among those that the same side opened. Only of a stream that is not in use. */
  id(): string;
  /** Allocates `max` bytes. Null at the end. */
  read(max: number): Promise<Uint8Array | null>;
  /** Resolves when all is copied. Reads from the memory of `bytes` until then, on another thread. */
  write(bytes: Uint8Array): Promise<void>;
  finishWrite(): Promise<void>;
  /** With code 0. */
  resetWrite(): Promise<void>;
  /** With code 0. */
  stopRead(): Promise<void>;
}
