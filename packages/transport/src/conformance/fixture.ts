import type {
  Downloader,
  DownloaderTimeouts,
  ParentAddress,
  PieceServer,
  PieceSource,
  ServerLimits,
} from "../transport.ts";
import { SyntheticSource } from "./synthetic-source.ts";

/** One parent with its server and one child with its downloader, joined by the transport under test. */
export interface Fixture extends AsyncDisposable {
  readonly downloader: Downloader;
  /** What the downloader dials to reach `server`. */
  readonly parent: ParentAddress;
  readonly server: PieceServer;
  /** Ends the server as if its process had died: no farewell, no flush. */
  killParent(): Promise<void>;
  /** Connections the downloader holds, idle ones included. Absent: it has none. */
  openConnections?(): number;
  /** Another child of the same parent, with connections of its own, disposed with the fixture. */
  openDownloader?(): Promise<Downloader>;
}

export interface FixtureOptions {
  readonly source: PieceSource;
  /** Over the defaults of `transport.ts`. */
  readonly limits?: Partial<ServerLimits>;
  readonly timeouts?: Partial<DownloaderTimeouts>;
  /** How long the downloader keeps a connection that nobody uses, in milliseconds. */
  readonly idleTimeoutMs?: number;
}

export type OpenFixture = (options: FixtureOptions) => Promise<Fixture>;

/**
 * Runs `test` on a fresh fixture and a fresh source, and asserts that the transport has freed every reader.
 *
 * @param options.parentDies the test kills the parent, and a dead process frees nothing
 */
export async function withFixture(
  open: OpenFixture,
  options: Omit<FixtureOptions, "source"> & { readonly parentDies?: boolean },
  test: (fixture: Fixture, source: SyntheticSource) => Promise<void>,
): Promise<void> {
  const { parentDies = false, ...fixtureOptions } = options;
  const source = new SyntheticSource();
  const fixture = await open({ ...fixtureOptions, source });
  try {
    await test(fixture, source);
    if (!parentDies) await source.untilFree();
  } finally {
    await fixture[Symbol.asyncDispose]();
  }
}
