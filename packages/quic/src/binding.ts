/**
 * The part of the native quiche binding that this package uses, as measured rather than as declared: its own
 * type declarations name methods the binary lacks. The binding is quiche 0.18.0.
 *
 * A panic in it aborts the process, so every number and buffer is checked before it is handed over: integers
 * not below zero, connection ids of at most 20 bytes, buffers that are not detached, no empty key lists.
 */
export interface QuicheBinding {
  readonly Config: {
    withBoringSslCtx(
      verifyPeer: boolean,
      verifyAllowFail: boolean,
      ca: Uint8Array | null,
      key: Uint8Array[] | null,
      cert: Uint8Array[] | null,
      signatureAlgorithms: string | null,
    ): NativeConfig;
  };
  readonly Connection: {
    connect(
      serverName: string | null,
      sourceId: Uint8Array,
      local: HostPort,
      peer: HostPort,
      config: NativeConfig,
    ): NativeConnection;
    accept(
      sourceId: Uint8Array,
      originalDestinationId: Uint8Array | null,
      local: HostPort,
      peer: HostPort,
      config: NativeConfig,
    ): NativeConnection;
  };
  readonly Header: { fromSlice(packet: Uint8Array, destinationIdLength: number): NativeHeader };
  /** Writes a Retry packet; all ids of at most 20 bytes. */
  retry(
    sourceId: Uint8Array,
    destinationId: Uint8Array,
    newSourceId: Uint8Array,
    token: Uint8Array,
    version: number,
    into: Uint8Array,
  ): number;
  negotiateVersion(sourceId: Uint8Array, destinationId: Uint8Array, into: Uint8Array): number;
  versionIsSupported(version: number): boolean;
}

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

export interface ReceiveInfo {
  readonly from: HostPort;
  readonly to: HostPort;
}

export interface NativeHeader {
  /** 0 Initial, 1 Retry, 2 Handshake, 3 0-RTT, 4 version negotiation, 5 short. */
  readonly ty: number;
  readonly version: number;
  readonly dcid: Uint8Array;
  readonly scid: Uint8Array;
  /** Of an Initial, if it has one; may be empty. */
  readonly token?: Uint8Array | null;
}

export interface NativeConfig {
  logKeys(): void;
  grease(on: boolean): void;
  enableEarlyData(): void;
  /** 48 bytes, no other count. May be called again; connections under way keep what they had. */
  setTicketKey(key: Uint8Array): void;
  setActiveConnectionIdLimit(count: number): void;
  /** For the connections accepted from here on; 128 bits. */
  setStatelessResetToken(token: bigint | null): void;
  setApplicationProtos(names: string[]): void;
  setCcAlgorithmName(name: string): void;
  enableHystart(on: boolean): void;
  enablePacing(on: boolean): void;
  setMaxIdleTimeout(ms: number): void;
  setMaxRecvUdpPayloadSize(bytes: number): void;
  setMaxSendUdpPayloadSize(bytes: number): void;
  setMaxAckDelay(ms: number): void;
  setInitialMaxData(bytes: number): void;
  setInitialMaxStreamDataBidiLocal(bytes: number): void;
  setInitialMaxStreamDataBidiRemote(bytes: number): void;
  setInitialMaxStreamDataUni(bytes: number): void;
  setInitialMaxStreamsBidi(count: number): void;
  setInitialMaxStreamsUni(count: number): void;
  setMaxStreamWindow(bytes: number): void;
  setMaxConnectionWindow(bytes: number): void;
  enableDgram(on: boolean, receiveQueueLength: number, sendQueueLength: number): void;
}

/** Nothing to do is `null`; every other failure throws an `Error` whose message is quiche's name for it. */
export interface NativeConnection {
  setKeylog(path: string): void;
  /** Before the first `send`. @throws for what is no session */
  setSession(session: Uint8Array): void;
  /** What a later connection resumes with; `null` before the peer has sent a ticket. A copy. */
  session(): Uint8Array | null;
  /** Decrypts in place. After a throw `send` must still be drained: it may hold the close frame. */
  recv(packet: Uint8Array, info: ReceiveInfo): number;
  /** Fills `into` with one datagram at most its length. A throw is fatal for the connection. */
  send(into: Uint8Array): [length: number, info: { readonly to: HostPort }] | null;
  streamRecv(id: number, into: Uint8Array): [length: number, fin: boolean] | null;
  /** `null` is both "no room now" and "no such stream any more": `streamCapacity` tells them apart. */
  streamSend(id: number, bytes: Uint8Array, fin: boolean): number | null;
  /** Lower goes first. Creates the stream. */
  streamPriority(id: number, urgency: number, incremental: boolean): void;
  /** Direction 0 asks the peer to stop sending, 1 resets our own side. */
  streamShutdown(id: number, direction: 0 | 1, code: number): void | null;
  /** @throws for a stream that is unknown, finished or stopped by the peer */
  streamCapacity(id: number): number;
  /** Whether all has been read up to the peer's end; true also for a stream that is unknown. */
  streamFinished(id: number): boolean;
  isReadable(): boolean;
  readable(): Iterable<number>;
  /** Milliseconds, rounded down; `null` when closed. */
  timeout(): number | null;
  onTimeout(): void;
  close(application: boolean, code: number, reason: Uint8Array): void | null;
  sendAckEliciting(): void;
  /** Lets the peer use one more id. @throws when it may hold no more */
  newSourceCid(id: Uint8Array, resetToken: bigint, retireIfNeeded: boolean): number;
  sourceCidsLeft(): number;
  /** An id that the peer has given back; `null` when all have been told. */
  retiredScidNext(): Uint8Array | null;
  /** What has happened to paths, oldest first; `null` when all has been told. */
  pathEventNext(): object | null;
  /** Queues one DATAGRAM frame; `null` is "no room". @throws where the peer takes none, or none as long */
  dgramSend(content: Uint8Array): void | null;
  /** `null` is "none here". @throws if `into` is too short for it */
  dgramRecv(into: Uint8Array): number | null;
  dgramRecvQueueLen(): number;
  dgramSendQueueByteSize(): number;
  /** `null` where the peer takes none. */
  dgramMaxWritableLen(): number | null;
  applicationProto(): Uint8Array;
  peerCertChain(): Uint8Array[] | null;
  isEstablished(): boolean;
  isResumed(): boolean;
  /** Between the first packet under a ticket's keys and the end of the handshake, or the peer's refusal. */
  isInEarlyData(): boolean;
  isDraining(): boolean;
  isClosed(): boolean;
  isTimedOut(): boolean;
  peerError(): NativeConnectionError | null;
  localError(): NativeConnectionError | null;
  stats(): NativeStats;
  pathStats(): NativePathStats[];
}

export interface NativeConnectionError {
  readonly isApp: boolean;
  readonly errorCode: number;
  readonly reason: Uint8Array;
}

export interface NativeStats {
  readonly recv: number;
  readonly sent: number;
  readonly lost: number;
  readonly retrans: number;
  readonly sentBytes: number;
  readonly recvBytes: number;
  readonly lostBytes: number;
  readonly streamRetransBytes: number;
  /** 0: the peer set none. Milliseconds. */
  readonly peerMaxIdleTimeout: number;
  /** Credit that the peer grants a stream from its own point of view: `Local` are the streams it opens. */
  readonly peerInitialMaxStreamDataBidiLocal: number;
  readonly peerInitialMaxStreamDataBidiRemote: number;
}

export interface NativePathStats {
  readonly active: boolean;
  /** Whole milliseconds. */
  readonly rtt: number;
  readonly cwnd: number;
}

/** A failure of the binding, taken apart: `StreamReset(7)` is `{ name: "StreamReset", value: 7 }`. */
export function parseNativeError(error: unknown): {
  readonly name: string;
  readonly value?: number;
} {
  const message = error instanceof Error ? error.message : String(error);
  const match = /^(\w+)(?:\((\d+)\))?$/.exec(message);
  if (match?.[1] === undefined) return { name: message };
  return match[2] === undefined ? { name: match[1] } : { name: match[1], value: Number(match[2]) };
}
