import { X509Certificate } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadQuiche } from "@damselfly/quic";
import { loadQuinn } from "@damselfly/quinn";
import type { TlsIdentity } from "@damselfly/transport";
import {
  createTestAuthority,
  generateTestKeys,
  issueSelfSigned,
  type TestNodeOptions,
} from "@damselfly/transport/testing";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  type DialledNode,
  type Dialler,
  meet,
  openDialledNode,
  type Way,
  WAYS,
} from "./testing/meeting-nodes.ts";

/*
 * The certificate matrix of docs/security.md: what is wrong with one side, by what way it meets the other, and which of the two has to
 * notice. Each cell goes both ways: with the fault it is refused, and the same set-up with this one fault mended is accepted.
 *
 * On QUIC by quinn nobody shows a certificate. Each side's key is told over the control channel (DfdaemonUpload.SyncPieces), so that is
 * where every cell is decided: the channel is refused, and a key that was told over no channel is nobody's, though it dials the port.
 */

const HOUR_MS = 3_600_000;
const HOSTNAME = "node";
const DIALLER_NAMES = { dnsNames: ["child", "d7y"], usages: ["server", "client"] } as const;
const DIALLED_NAMES = { dnsNames: [HOSTNAME, "d7y"], usages: ["server", "client"] } as const;

const authority = await createTestAuthority();
const stranger = await createTestAuthority();

/** The ways whose library does not load here, each said once. */
const missing = new Set<Way>();
function isMissing(way: Way, reason: unknown): void {
  console.warn(`skipped: the cells of ${way}: ${String(reason)}`);
  missing.add(way);
}
await loadQuiche().catch((error: unknown) => isMissing("QUIC quiche", error));
try {
  loadQuinn();
} catch (error) {
  isMissing("QUIC quinn", error);
}
const WAYS_HERE = WAYS.filter((way) => !missing.has(way));

/** One side of a meeting, and what the other side is told to distrust. */
interface Side<Shown> {
  readonly shows: Shown;
  readonly revoked?: readonly string[];
}

interface Row {
  readonly fault: string;
  /** Of who dials: the server has to notice. */
  readonly dialler: { readonly bad: Side<Dialler>; readonly mended: Side<Dialler> };
  /** Of who is dialled, undefined: it has no certificate at all; the client has to notice. */
  readonly dialled: {
    readonly bad: Side<TlsIdentity | undefined>;
    readonly mended: Side<TlsIdentity | undefined>;
    /** What the client dials with; its certificate unless given. */
    readonly by?: Dialler;
  };
}

/** The same node twice, for either side: once with the fault, once without. */
async function twoOf(
  fault: string,
  make: (
    names: TestNodeOptions,
    isDialled: boolean,
  ) => Promise<{
    readonly bad: Side<TlsIdentity>;
    readonly mended: Side<TlsIdentity>;
  }>,
): Promise<Row> {
  return {
    fault,
    dialler: await make(DIALLER_NAMES, false),
    dialled: await make(DIALLED_NAMES, true),
  };
}

/** Of certificates of our authority that differ in nothing but `fault`. */
function issuedWith(fault: string, change: (isDialled: boolean) => TestNodeOptions): Promise<Row> {
  return twoOf(fault, async (names, isDialled) => {
    const keys = await generateTestKeys();
    return {
      bad: { shows: await authority.issue({ ...names, keys, ...change(isDialled) }) },
      mended: { shows: await authority.issue({ ...names, keys }) },
    };
  });
}

const child = await authority.issue(DIALLER_NAMES);
const node = await authority.issue(DIALLED_NAMES);

const ROWS: readonly Row[] = [
  {
    fault: "no certificate",
    dialler: { bad: { shows: "no certificate" }, mended: { shows: child } },
    dialled: { bad: { shows: undefined }, mended: { shows: node } },
  },
  // Whoever is right is let in; the other way round, with an authority of the same name, is not.
  await twoOf("right CA", async (names) => ({
    bad: { shows: { ...(await stranger.issue(names)), caCert: authority.caCert } },
    mended: { shows: await authority.issue(names) },
  })),
  await twoOf("wrong CA", async (names) => ({
    bad: { shows: { ...(await stranger.issue(names)), caCert: authority.caCert } },
    mended: { shows: await authority.issue(names) },
  })),
  await issuedWith("expired", () => ({
    validFrom: new Date(Date.now() - 2 * HOUR_MS),
    validUntil: new Date(Date.now() - HOUR_MS),
  })),
  await issuedWith("not yet valid", () => ({
    validFrom: new Date(Date.now() + HOUR_MS),
    validUntil: new Date(Date.now() + 2 * HOUR_MS),
  })),
  // No node's at all: not even the name that all of them carry, nor the address that is dialled.
  await issuedWith("wrong name", () => ({ dnsNames: ["elsewhere"], ips: [] })),
  await issuedWith("wrong usage", (isDialled) => ({ usages: [isDialled ? "client" : "server"] })),
  await twoOf("revoked", async (names) => {
    const shows = await authority.issue(names);
    const { serialNumber } = new X509Certificate(shows.cert);
    return { bad: { shows, revoked: [serialNumber] }, mended: { shows, revoked: ["5A"] } };
  }),
  await twoOf("self-signed", async (names) => ({
    bad: { shows: { ...(await issueSelfSigned(names)), caCert: authority.caCert } },
    mended: { shows: await authority.issue(names) },
  })),
  {
    fault: "plain client",
    dialler: { bad: { shows: "plain" }, mended: { shows: child } },
    // A client without certificates has nothing to check with: it gets nothing where there are some, and is served where there are none.
    dialled: { bad: { shows: node }, mended: { shows: undefined }, by: "without certificates" },
  },
];

/** What a dialler hears of a server that does not let it in: TLS 1.3 tells it once it believes itself connected, if at all. */
const REFUSED_BY_SERVER = [
  "ERR_PARENT_UNTRUSTED",
  "ERR_PARENT_UNREACHABLE",
  "ERR_UNTRUSTED",
  "ERR_PARENT", // the control channel's word for both
  "ECONNRESET",
  "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED",
  "CLOSED",
  "DROPPED",
  "UNAVAILABLE",
  "PERMISSION_DENIED",
];

/** What a client makes of a server that it does not trust, and of one that speaks without TLS. */
function refusedByClient(way: Way, fault: string): readonly string[] {
  if (way === "QUIC quinn") return ["ERR_PARENT"];
  if (way === "gRPC upload port" || way === "gRPC scheduler") return ["UNAVAILABLE"];
  // Over TCP a server without certificates speaks another language; QUIC has no plain form, and vouches for nobody then.
  const isPlain = fault === "no certificate" || fault === "plain client";
  const isTcp = way === "TCP" || way === "gRPC pieces";
  return isPlain && isTcp
    ? ["ERR_PARENT_UNREACHABLE", "ERR_PARENT_UNTRUSTED"]
    : ["ERR_PARENT_UNTRUSTED"];
}

let directory: string;
const nodes: DialledNode[] = [];
let nodeCount = 0;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "matrix-"));
});
afterEach(async () => {
  for (const each of nodes.splice(0)) await each[Symbol.asyncDispose]();
});
afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function dialled(tls: TlsIdentity | undefined): Promise<DialledNode> {
  nodeCount += 1;
  const opened = await openDialledNode({
    directory: join(directory, String(nodeCount)),
    hostname: HOSTNAME,
    tls,
  });
  nodes.push(opened);
  return opened;
}

function withRevoked(identity: TlsIdentity, revoked: readonly string[] | undefined): TlsIdentity {
  return revoked === undefined ? identity : { ...identity, revoked };
}

describe.each(ROWS)("$fault", ({ fault, dialler, dialled: side }) => {
  it.each(WAYS_HERE)(
    "is refused by a server over %s, and let in when it is mended",
    async (way) => {
      const strict = await dialled(withRevoked(node, dialler.bad.revoked));
      const refused = await meet(way, strict, { dialler: dialler.bad.shows, hostname: HOSTNAME });
      expect(REFUSED_BY_SERVER).toContain(refused);
      expect(strict.pieceCount).toBe(0);

      const kind = await dialled(withRevoked(node, dialler.mended.revoked));
      expect(await meet(way, kind, { dialler: dialler.mended.shows, hostname: HOSTNAME })).toBe(
        "accepted",
      );
    },
  );

  it.each(WAYS_HERE)(
    "is refused by a client over %s, and let in when it is mended",
    async (way) => {
      const dialWith = ({ revoked }: Side<unknown>): Dialler =>
        side.by ?? withRevoked(child, revoked);
      const bad = await dialled(side.bad.shows);
      const refused = await meet(way, bad, { dialler: dialWith(side.bad), hostname: HOSTNAME });
      expect(refusedByClient(way, fault)).toContain(refused);
      expect(bad.pieceCount).toBe(0);

      const mended = await dialled(side.mended.shows);
      expect(await meet(way, mended, { dialler: dialWith(side.mended), hostname: HOSTNAME })).toBe(
        "accepted",
      );
    },
  );
});

describe("another node's certificate", () => {
  it.each(WAYS_HERE.filter((way) => way !== "gRPC scheduler"))(
    "is refused by a client over %s that means this one, though both are nodes",
    async (way) => {
      const other = await dialled(await authority.issue({ dnsNames: ["other", "d7y"] }));
      const refused = await meet(way, other, { dialler: child, hostname: HOSTNAME });
      expect(refusedByClient(way, "wrong name")).toContain(refused);
      expect(await meet(way, other, { dialler: child, hostname: "other" })).toBe("accepted");
    },
  );

  it.skipIf(missing.has("QUIC quinn"))(
    "is refused by a server where it speaks for a host",
    async () => {
      const other = await authority.issue({ dnsNames: ["other", "d7y"] });
      const strict = await dialled(node);
      // It says that it is 127.0.0.1-child.
      expect(await meet("QUIC quinn", strict, { dialler: other, hostname: HOSTNAME })).toBe(
        "ERR_PARENT",
      );
      expect(await meet("QUIC quinn", strict, { dialler: child, hostname: HOSTNAME })).toBe(
        "accepted",
      );
    },
  );
});
