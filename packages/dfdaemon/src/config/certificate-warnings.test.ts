import { type TlsIdentity, TlsStore } from "@damselfly/transport";
import { createTestAuthority } from "@damselfly/transport/testing";
import { expect, it } from "vitest";
import { certificateWarnings } from "./certificate-warnings.ts";
import { configSchema } from "./config-schema.ts";

const authority = await createTestAuthority();

function warnings(
  server: TlsIdentity | undefined,
  client: TlsIdentity | undefined = server,
  security: object = {},
): string[] {
  const config = configSchema.parse({ host: { hostname: "n1", ip: "10.0.0.1" }, security });
  const source = server && new TlsStore(server);
  return certificateWarnings(config, {
    server: source,
    client: client === server ? source : client && new TlsStore(client),
  });
}

it("certificateWarnings has nothing to say of a certificate that names this host and d7y", async () => {
  expect(warnings(await authority.issue({ dnsNames: ["n1", "d7y"] }))).toEqual([]);
  expect(warnings(undefined)).toEqual([]);
});

it("certificateWarnings says which name is missing, and in which certificate", async () => {
  const good = await authority.issue({ dnsNames: ["n1", "d7y"] });
  const other = await authority.issue({ dnsNames: ["n2", "d7y"], ips: [] });
  expect(warnings(other)).toEqual([
    "this daemon's certificate names DNS:n2, DNS:d7y and not n1: other daemons refuse it (see dfdaemon certs)",
  ]);
  expect(warnings(good, await authority.issue({ dnsNames: [], ips: [] }))).toEqual([
    "the certificate for those it dials names nothing and not n1 and d7y: other daemons refuse it (see dfdaemon certs)",
  ]);
});

it("certificateWarnings says when nobody who trusts the same authorities trusts it", async () => {
  const { caCert } = await createTestAuthority();
  const node = { ...(await authority.issue({ dnsNames: ["n1", "d7y"] })), caCert };
  expect(warnings(node)).toEqual([expect.stringMatching(/issued by none of the authorities/)]);
  const intermediate = await authority.createIntermediate();
  expect(warnings(await intermediate.issue({ dnsNames: ["n1", "d7y"] }))).toEqual([]);
});

it("certificateWarnings says that a list of revoked certificates is of no use without any", () => {
  expect(warnings(undefined, undefined, { revoked: "/r.txt" })).toEqual([
    "security.revoked has no effect: no certificates are given",
  ]);
});
