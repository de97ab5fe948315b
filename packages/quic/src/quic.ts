import type { UdpSocketFactory } from "./udp-socket.ts";

/** An IP literal and a UDP port. */
export interface QuicAddress {
  readonly ip: string;
  readonly port: number;
}

/** One UDP port that both listens and dials. Made by `openQuicEndpoint`. */
export interface QuicEndpoint extends AsyncDisposable {
  /** Where the socket is bound; the port is the real one also when 0 was asked for. */
  readonly address: QuicAddress;
  /** Open connections, those in their handshake included. */
  readonly connectionCount: number;
  /**
   * Resolves when the handshake is done and the peer's certificate has been accepted here. It is no proof that
   * the peer accepted ours: with TLS 1.3 a client hears of a refusal only one flight later, through its streams.
   *
   * With `options.ticket` it resolves before the first packet has left (see `QuicConnection.isEarly`), and the signal
   * means nothing any more.
   *
   * @throws {QuicError} `ERR_UNREACHABLE`, `ERR_DIAL_TIMEOUT`, `ERR_UNTRUSTED`, `ERR_TLS`, `ERR_REFUSED`,
   *   `ERR_CONNECTION_LOST`, `ERR_CLOSED`
   * @throws the signal's reason, when `options.signal` aborts
   */
  dial(target: QuicAddress, options?: QuicDialOptions): Promise<QuicConnection>;
  stats(): QuicEndpointStats;
  /**
   * Another identity, or other checks, for connections from now on; no ticket from before is honoured. Connections that
   * run go on under the identity they were made with, but their peers are checked anew by `tls.checkPeer`, and those
   * that do not pass are closed.
   *
   * @throws {QuicError} `ERR_TLS_CONFIG`; the former identity stays in use
   * @throws {TypeError} where there is none: an endpoint opened insecure stays so, and some backends know keys instead
   */
  useTls(tls: QuicTls): void;
  /** Checks the peers of connections that run, and closes those that would not be let in any more. */
  recheckPeers(): void;
  /** Closes without a word to the peers: they notice by their idle timeout. */
  abort(): Promise<void>;
  /** Lets finished streams reach their peers (one second at most), says goodbye on every connection, closes the socket. */
  [Symbol.asyncDispose](): Promise<void>;
}

export interface QuicDialOptions {
  readonly signal?: AbortSignal | undefined;
  /** For the whole handshake, in milliseconds; default 10 000. */
  readonly timeoutMs?: number | undefined;
  /** The name the peer's certificate must carry; default is the endpoint's `serverName`. */
  readonly serverName?: string | undefined;
  /**
   * From `QuicConnection.ticket` of an earlier connection to this peer: what is written right after the dial travels
   * with its first packet (0-RTT). One that is no good any more, or no ticket at all, costs nothing: the dial then
   * takes its time as without. Needs `earlyData` on both sides.
   */
  readonly ticket?: Uint8Array | undefined;
  /**
   * What the peer is asked to send by, where it leaves that open (`auto`); and what this side sends by, where it
   * leaves it open. It travels in clear, in the connection id.
   */
  readonly congestionControl?: QuicCongestionControl | undefined;
  /**
   * The key that the peer must hold, as its endpoint says it. For backends whose peers are known by their keys
   * (`@damselfly/quinn`), which need it; quiche has certificates, and refuses it.
   */
  readonly peerKey?: string | undefined;
}

export interface QuicConnection {
  readonly remoteAddress: QuicAddress;
  /** Whether this side dialled. */
  readonly isDialler: boolean;
  /**
   * Data travels already, though the handshake is not over. For a dialler: its first streams may be repeated by
   * anybody who has recorded them (once more at each repetition: the peer cannot tell), and `peerCertificates` are
   * those the ticket was issued under; should the peer not honour it, they change with `established`, and what was
   * written then travels again, to whoever proved to be the peer by these.
   * For the accepting side: what is read may be such a repetition, by somebody at another address. Answer nothing
   * that changes anything, counts anything or is large to find; wait for `established` with that.
   */
  readonly isEarly: boolean;
  /** The handshake is over. Rejects with the `QuicError` that ended the connection before; nobody has to listen. */
  readonly established: Promise<void>;
  /**
   * For `QuicDialOptions.ticket`: of a dialled connection, from soon after the handshake; undefined before, without
   * `earlyData`, and where the peer issues none. A later look may find a fresher one. Good for an hour at most, and
   * as often as wanted. A secret: whoever has it passes for this node until then.
   */
  readonly ticket: Uint8Array | undefined;
  /** What the peer showed, DER, leaf first; empty when it showed none. Not checked where the endpoint is insecure. */
  readonly peerCertificates: readonly Uint8Array[];
  /** False from the moment either side has closed, or silence did. */
  readonly isOpen: boolean;
  /** Never rejects. */
  readonly closed: Promise<QuicCloseReason>;
  /**
   * Called once for each stream that the peer opens; it may carry no byte yet. Must not throw. Streams that
   * arrive while it is undefined wait, as bytes do, within the flow-control window.
   */
  onStream: ((stream: QuicStream) => void) | undefined;
  /**
   * Opens a stream; the peer hears of it with the first write.
   *
   * @throws {QuicError} the reason why the connection is over
   */
  openStream(): QuicStream;
  /**
   * Keeps the connection from idling out until the returned function is called. Counted: any number may hold it.
   * The dialling side pings, and gives up a peer that stays silent for `deadAfterMs`; the other side does nothing.
   */
  retain(): () => void;
  /** Ends the connection and its streams at once, telling the peer. Bytes still on their way are lost. Idempotent. */
  close(code: number, reason?: string): void;
  stats(): QuicConnectionStats;
}

/**
 * Bytes both ways, each way ending on its own. One read and one write may wait at a time.
 *
 * Every stream must be brought to its end both ways: read to 0, reset by the peer or `stopReading`; `end` or
 * `reset`. Only then is it forgotten.
 */
export interface QuicStream {
  readonly id: number;
  /** Content bytes that have arrived and been read out so far, a waiting read's included: progress, for stall timers. */
  readonly receivedLength: number;
  /**
   * Reads straight into `into`, which belongs to the stream until the promise settles. Resolves with the count
   * of bytes; 0 only at the end. Hoping for `leastLength` (default 1) waits up to 5 ms longer for that many:
   * large reads then cost few promises, and a slow peer's bytes are not held back.
   *
   * @throws {QuicError} `ERR_STREAM_RESET`, `ERR_CONNECTION_LOST`, `ERR_UNTRUSTED`, `ERR_CLOSED`
   */
  read(into: Uint8Array, leastLength?: number): Promise<number>;
  /**
   * Resolves when all bytes are copied out of `bytes`: that is the backpressure. It says nothing about arrival.
   *
   * @throws {QuicError} `ERR_STREAM_STOPPED`, `ERR_STREAM_LIMIT`, `ERR_CONNECTION_LOST`, `ERR_UNTRUSTED`, `ERR_CLOSED`
   */
  write(bytes: Uint8Array): Promise<void>;
  /**
   * Writes the last bytes, if any, and the end. Same errors as `write`. Give the last bytes here where they are
   * known to be the last: on a lossy path an end that comes later than its bytes can get lost (a fault of quiche 0.18).
   */
  end(bytes?: Uint8Array): Promise<void>;
  /**
   * Ends our side abruptly with an application code; the peer's reads throw `ERR_STREAM_RESET`. Before the first
   * write it ends both ways, for the peer never hears of the stream. Idempotent.
   */
  reset(code: number): void;
  /** Asks the peer to stop sending and drops what has arrived. Idempotent. */
  stopReading(code: number): void;
  /**
   * Never rejects. Resolves with undefined when both ways have ended well, with the error at the first way that
   * did not: this is how a writer that waits for its own source hears that the peer has lost interest.
   */
  readonly closed: Promise<Error | undefined>;
}

export interface QuicCloseReason {
  /** `reset`: the peer knows nothing of the connection any more, as after a restart. */
  readonly by: "here" | "peer" | "idle-timeout" | "reset" | "lost";
  /** Whether `code` is the application's; otherwise it is of RFC 9000 section 20.1. */
  readonly isApplication: boolean;
  readonly code: number;
  /** What the closing side said; printable, 256 characters at most. */
  readonly text: string;
}

/**
 * `pending`: some travels, and the peer has not said whether it took it. `refused`: the peer did not honour the
 * ticket, and the same data travels again after the handshake. The accepting side does not hear of what it refused.
 */
export type QuicEarlyData = "none" | "pending" | "accepted" | "refused";

export interface QuicConnectionStats {
  /** From the first packet to the end of the handshake; 0 before that. Milliseconds. */
  readonly handshakeMs: number;
  readonly earlyData: QuicEarlyData;
  /** Of this side. */
  readonly congestionControl: QuicCongestionControl;
  /** Whole milliseconds: 0 on a LAN. */
  readonly rttMs: number;
  readonly congestionWindowBytes: number;
  /** Of the longest UDP payload sent at present, in bytes: what the path is known, or thought, to take. 0 from quinn. */
  readonly packetLength: number;
  readonly sentPacketCount: number;
  readonly receivedPacketCount: number;
  readonly lostPacketCount: number;
  readonly sentBytes: number;
  readonly receivedBytes: number;
  readonly lostBytes: number;
  readonly retransmittedBytes: number;
  readonly streamCount: number;
  /** Streams of both sides since the start. */
  readonly openedStreamCount: number;
  /** Streams stopped or reset on this side; the binding never quite forgets those (1 to 2 KiB each). */
  readonly abandonedStreamCount: number;
}

export interface QuicEndpointStats {
  readonly connectionCount: number;
  /** Of those that are over, those that are still remembered, so that a peer who goes on hears of it. */
  readonly drainingConnectionCount: number;
  readonly dialledCount: number;
  readonly acceptedCount: number;
  /** Turned away at the connection limit. */
  readonly refusedCount: number;
  /** Handshakes not begun, for one of the limits on them. */
  readonly droppedHandshakeCount: number;
  /** Peers that were asked to prove their address first. */
  readonly retryCount: number;
  /** Packets of connections unknown here that were answered with a stateless reset. */
  readonly resetSentCount: number;
  /** Connections of either side whose early data was taken, or was not. */
  readonly earlyAcceptedCount: number;
  readonly earlyRefusedCount: number;
  readonly receivedDatagramCount: number;
  readonly sentDatagramCount: number;
  /** Calls that sent them: fewer where the socket takes several at a time. */
  readonly sendCallCount: number;
  readonly sendErrorCount: number;
  /** Messages that brought the received ones: fewer where the kernel puts several together. */
  readonly receiveCallCount: number;
  /** On average since the start; 0 before the first. */
  readonly datagramsPerSendCall: number;
  readonly datagramsPerReceiveCall: number;
  /** Datagrams that were no QUIC packet for anybody here. */
  readonly droppedDatagramCount: number;
}

/** PEM texts. Both sides are verified against `caCert`. */
export interface QuicTls {
  readonly caCert: string;
  /** Leaf first. */
  readonly cert: string;
  readonly key: string;
  /**
   * What else speaks against a peer whose certificates are good: asked at the end of each handshake, also of one that
   * resumes an earlier session, and of one that runs by `useTls` and `recheckPeers`. Must not throw.
   */
  readonly checkPeer?: ((peer: QuicPeer) => QuicPeerRefusal | undefined) | undefined;
}

export interface QuicPeer {
  /** DER, leaf first: as shown now, or in the handshake whose session is resumed. */
  readonly certificates: readonly Uint8Array[];
  /** Whether it was dialled from here. */
  readonly isDialled: boolean;
  /** Its connection has been let in before. */
  readonly isRunning: boolean;
}

export interface QuicPeerRefusal {
  /** What the peer is told: a TLS alert about certificates (RFC 8446, section 6.2), 44 for a revoked one. */
  readonly alert: number;
  /** For people at both ends. */
  readonly reason: string;
}

export interface QuicLogger {
  warn(fields: object, message: string): void;
  debug(fields: object, message: string): void;
}

export type QuicCongestionControl = "cubic" | "reno" | "bbr";

/**
 * `dgram`: plain `node:dgram`, one system call a datagram. `gso`: on Linux with koffi installed, the kernel cuts
 * what is sent and puts together what is received (UDP_SEGMENT, UDP_GRO); where it cannot be had, the endpoint does
 * not open. `auto`: `gso` where it can be had, otherwise `dgram`.
 */
export type QuicUdp = "auto" | "dgram" | "gso";

export interface QuicEndpointOptions {
  /** A concrete address of this machine is best; `0.0.0.0` and `::` work. Port 0 picks a free one. */
  readonly address: QuicAddress;
  /** The one protocol spoken here (RFC 7301): QUIC has no connection without one in common. */
  readonly alpn: string;
  /** Mutual TLS, or `"insecure"`: encrypted, but nobody is who they say. */
  readonly tls: QuicTls | "insecure";
  /** What a dialled peer's certificate must name; default `d7y`. Not an IP address: those are not matched. */
  readonly serverName?: string | undefined;
  /**
   * Called with each connection from outside once its handshake is done, or with `earlyData` as soon as there is some
   * to read. Must not throw. Without it none is taken.
   */
  readonly accept?: ((connection: QuicConnection) => void) | undefined;
  readonly limits?: Partial<QuicLimits> | undefined;
  /** Silence that ends a connection, in milliseconds; the smaller of both sides' counts. Default 30 000. */
  readonly idleTimeoutMs?: number | undefined;
  /**
   * Silence that ends a connection while this side, having dialled it, retains it: it pings then, so silence means
   * that the peer is gone. Milliseconds; default 15 000.
   */
  readonly deadAfterMs?: number | undefined;
  /**
   * Largest UDP payload sent, in bytes, 1200 to 16 383. Default `auto`: 16 383 on this machine, the interface's MTU to
   * its own subnet, elsewhere 1350 and whatever longer packets are seen to arrive (`length-plan.ts`). A path that
   * turns out to take less gets 1200, and longer ones after a while again if they arrive. Where datagrams could be
   * fragmented (anywhere but on Linux with koffi installed), `auto` is 1350 to any other machine.
   */
  readonly packetLength?: number | "auto" | undefined;
  /** Decides for what this side sends. Default `auto`: what the dialling side wishes, otherwise `cubic`. */
  readonly congestionControl?: QuicCongestionControl | "auto" | undefined;
  /**
   * Lets tickets be issued and used, and data travel before the handshake is over (0-RTT). Default false: the
   * application must keep to what `QuicConnection.isEarly` says.
   */
  readonly earlyData?: boolean | undefined;
  /**
   * Seals the tickets issued here: 48 secret bytes. Endpoints with the same one honour each other's tickets, and an
   * endpoint opened anew its former ones, so it must change with the authority, and tickets got by tickets are good for
   * as long as it is used. Default: random, and replaced every hour and by `useTls`.
   */
  readonly ticketKey?: Uint8Array | undefined;
  /**
   * Makes the tokens by which peers learn at once that this endpoint has been opened anew and knows nothing of their
   * connections (stateless reset): 16 secret bytes or more, the same after a restart. Default: derived from the
   * private key; random where there is none.
   */
  readonly resetKey?: Uint8Array | undefined;
  /**
   * TLS secrets are appended to this file for packet analysers, which is made readable for its owner alone; with one that
   * cannot be, there is no log. Debugging only: it gives everything away. The environment (`SSLKEYLOGFILE`) is not looked at.
   */
  readonly keyLogPath?: string | undefined;
  /** Asked of the kernel for the socket's buffers, in bytes each way; default 4 MiB. */
  readonly bufferLength?: number | undefined;
  /** How datagrams travel; default `auto`. */
  readonly udp?: QuicUdp | UdpSocketFactory | undefined;
  readonly logger?: QuicLogger | undefined;
}

export interface QuicLimits {
  /** Connections open at once, both ways; one more is refused. Default 1000. */
  readonly connectionCountMax: number;
  /**
   * Streams that one peer may have open at once; one more is reset with code 0. 0: none at all. Default 1024.
   * A peer with this many refused streams on one connection loses the connection.
   */
  readonly streamCountMax: number;
  /**
   * Streams that come to nothing in the life of a connection, beside those: reset, stopped, or never heard of again.
   * The binding may keep 1 to 2 KiB of each. A peer that opens more is closed, and one that keeps to what it is granted
   * opens no more: it has to dial anew before. Default 20,000.
   */
  readonly abandonedStreamCountMax: number;
  /**
   * Streams taken in before the handshake is over: what one repeated flight can ask for. More wait for its end.
   * Default 16.
   */
  readonly earlyStreamCountMax: number;
  /**
   * Handshakes with diallers under way at once. One more is dropped unanswered; its dialler tries again, after about
   * a second first. Default 1024, which is a few hundred times what goes on in a LAN at the same moment.
   */
  readonly halfOpenCountMax: number;
  /**
   * From this many on, new diallers have to prove their address first (Retry): one round trip more, and early data
   * comes late. 0: always. Default 128.
   */
  readonly retryHalfOpenCount: number;
  /**
   * Of them, from one IPv4 address or IPv6 /64 network; from half of this on it has to be proven. One more is dropped.
   * Default 512: a cluster may be behind one NAT.
   */
  readonly halfOpenPerAddressMax: number;
  /**
   * Handshakes begun a second, from one such address, on average; twice as many at once. From half of that on the
   * address has to be proven; one more is dropped. Default 500.
   */
  readonly handshakesPerSecondMax: number;
  /**
   * Bytes that a peer may send unread on a stream opened here; default 8 MiB + 64 KiB. Content longer than this
   * costs round trips: the binding renews credit in small steps.
   */
  readonly streamWindow: number;
  /**
   * The same for a stream opened by the peer; default 64 KiB. Bounds memory per stream taken in. On all streams of a
   * connection that was accepted it is `streamCountMax` times that, or 128 MiB if that is more. Who has sent so much in
   * the connection's life is slower from there on; bytes of streams that came to nothing count for ever.
   */
  readonly peerStreamWindow: number;
}
