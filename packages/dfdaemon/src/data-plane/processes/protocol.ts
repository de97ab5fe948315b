import type { PieceTarget } from "@damselfly/storage";
import type { ByteRange, PieceInfo, PieceRequest, TlsIdentity } from "@damselfly/transport";
import type { StorageConfig } from "../../config/config.ts";
import type { ObservedRequest } from "../../origins/http-origin.ts";
import type { OriginRequest, OriginStat } from "../../origins/origin.ts";
import type { ProxySettings } from "../../origins/proxies.ts";
import type { ContentLimitsInit, ContentRates } from "../content-limits.ts";
import type { WantedPiece } from "../assert-announced.ts";
import type { OriginRead, TransportOffer } from "../data-plane.ts";
import type { Announcement, Takeover } from "../relay/hedged-piece.ts";
import type { Supplier } from "../relay/supplier.ts";
import type { TransportReport } from "../transport-report.ts";
import type { Fault } from "./link/fault.ts";

/**
 * What the control process and a data-plane process of one daemon say to each other. Ours and private: both are of one version, which
 * the first message makes sure of, and nothing of it is ever on a network.
 */
export const PROTOCOL_VERSION = 1;

/** A type alias, not an interface: only those are records of methods to the compiler. */
export type WorkerMethods = {
  /** The first call of all. Resolves when every server listens. */
  start(init: WorkerInit): WorkerReady;
  /** Asks for a piece; resolves when it has been announced, and is what is wanted. Every content that opened is to be closed, unless all of it was received. */
  openPiece(params: {
    /** Chosen by the caller, for what follows. */
    readonly content: number;
    readonly wanted: WantedPiece;
    readonly first: Supplier;
    readonly mayTry: boolean;
    /** Who else is asked, and what becomes of it, is decided by the caller: `hedge`, `tookOver`, `supplierFailed`. */
    readonly isHedged: boolean;
  }): Announcement;
  /** Asks an origin for a body; resolves when its header has come. */
  openOrigin(params: {
    readonly content: number;
    readonly request: OriginRequest;
    readonly range: OriginRead["range"];
    readonly target: OriginRead["target"];
  }): OriginStat;
  openSpool(params: {
    readonly content: number;
    readonly path: string;
    readonly length: number;
  }): void;
  /** Writes the next bytes of a content to their place, or all that is left, and then closes it; answers with their digests. */
  receive(params: {
    readonly content: number;
    readonly target: PieceTarget;
    readonly length: number | "all";
  }): readonly string[];
  /** Reads past the next bytes of a content, or all that is left. */
  skip(params: { readonly content: number; readonly length: number | "all" }): void;
  /** Reads on to the end of a content, where nothing may be left. */
  end(params: { readonly content: number }): void;
  /** Writes all of a content to a file that is there and empty; answers with its length. */
  spool(params: { readonly content: number; readonly path: string }): number;
  close(params: { readonly content: number }): void;
  report(params: null): TransportReport;
  /** Closes the servers: pieces that are being served may finish within the servers' bounds. Fetching goes on. */
  drain(params: null): void;
  /** Notes: */
  /** Has another supplier asked for what is missing of a piece, opened or being opened. */
  hedge(params: { readonly content: number; readonly supplier: Supplier }): void;
  admitPeer(params: { readonly peerKey: string }): void;
  dismissPeer(params: { readonly peerKey: string }): void;
  /** For connections from now on; those that run are looked at again. */
  useIdentities(params: WorkerIdentities): void;
  /** From now on content moves no faster. */
  setRates(params: ContentRates): void;
  /** Another file lies under that name now, or none. */
  forget(params: { readonly path: string }): void;
  /** Pieces that are being served may finish within the servers' bounds; then the process ends. A call. */
  stop(params: null): void;
};

export type ControlMethods = {
  /** As `Storage.locatePiece`. */
  locate(params: { readonly lease: number; readonly request: PieceRequest }): PieceLocation;
  /** A piece that was located does not have the bytes that were recorded. Resolves when it is no longer offered. */
  damaged(params: { readonly lease: number }): void;
  /** As `HedgeObserver.failed`; null: nobody else. */
  supplierFailed(params: {
    readonly content: number;
    readonly supplier: number;
    readonly fault: Fault;
  }): Supplier | null;
  /** Notes: */
  /** As `HedgeObserver.tookOver`. */
  tookOver(params: { readonly content: number; readonly supplier: number } & Takeover): void;
  /** As `HedgeObserver.passedOver`. */
  passedOver(params: { readonly content: number; readonly supplier: number }): void;
  /** Nobody reads a located piece any more; `length` bytes of it have been handed on. */
  ended(params: {
    readonly lease: number;
    readonly delivered: boolean;
    readonly length: number;
  }): void;
  /** Bytes that have moved at each rate since the start. */
  moved(params: ContentRates): void;
  /** What came for contents, and went to children, since the last time. */
  progress(params: Progress): void;
  /** The event loop turns. */
  beat(params: null): void;
  log(params: {
    readonly level: "debug" | "info" | "warn" | "error";
    readonly fields: Readonly<Record<string, unknown>>;
    readonly message: string;
  }): void;
  originAsked(params: ObservedRequest): void;
  originAnswered(params: {
    readonly request: ObservedRequest;
    readonly failed: boolean;
    readonly costMs: number;
  }): void;
};

/** Everything a data-plane process is told at its start: it reads no setting, no file and no environment. */
export interface WorkerInit {
  readonly version: number;
  readonly transports: {
    /** With the real ports, where they are known. */
    readonly config: StorageConfig["server"];
    readonly bindIp: string;
    readonly plainPeers: boolean;
    readonly announceMs: number;
    readonly resetKey: Uint8Array;
    readonly withoutQuic: boolean;
  };
  readonly identities: WorkerIdentities;
  readonly quinn: { readonly privateKey: Uint8Array; readonly peerKeys: readonly string[] };
  readonly origin: WorkerOriginInit;
  /** This process's part of what the daemon may take. */
  readonly limits: ContentLimitsInit;
  /** The rates among them are divided anew by what each process moves: it says so once a second. */
  readonly isSharing: boolean;
  /** Whether what is offered is TLS. */
  readonly tls: boolean;
  /** How often `beat` comes, in milliseconds. */
  readonly beatMs: number;
}

/** Who the daemon is. Which of the two there are does not change while it runs. */
export interface WorkerIdentities {
  /** To those who dial it. */
  readonly serverTls: TlsIdentity | undefined;
  /** To the peers it dials. */
  readonly clientTls: TlsIdentity | undefined;
}

/** What `openHttpOrigin` needs, less what is no data. */
export interface WorkerOriginInit {
  readonly userAgent: string;
  readonly requestHeader: Readonly<Record<string, string>>;
  readonly caCert?: string;
  readonly insecure: boolean;
  readonly proxy?: ProxySettings;
}

export interface Progress {
  /** By the number of the content: bytes that came, milliseconds that its taker waited for them, bytes that were there already. */
  readonly received: readonly (readonly [
    content: number,
    length: number,
    waitedMs: number,
    doubledLength: number,
  ])[];
  readonly sentLength: number;
}

export interface WorkerReady {
  readonly offers: readonly TransportOffer[];
  readonly quinnPort: number | undefined;
}

/** `LocatedPiece`, less its functions. */
export interface PieceLocation {
  readonly piece: PieceInfo;
  readonly range: ByteRange;
  readonly path: string;
  readonly ino: bigint;
}

/** What goes along with a socket that is handed over, of which nothing has been read. */
export interface SocketNote {
  readonly kind: "tcp" | "grpc";
}
