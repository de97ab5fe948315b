import { createTestAuthority } from "@damselfly/rpc/testing";
import { testTransport } from "@damselfly/transport/conformance";
import { openTcpFixture } from "./testing/open-tcp-fixture.ts";

const authority = await createTestAuthority();
const serverTls = await authority.issue();
const childTls = await authority.issue();

testTransport("transport-tcp with mutual TLS", (options) =>
  openTcpFixture(options, { plain: false, serverTls, childTls }),
);

testTransport("transport-tcp with mutual TLS on a port that takes plain children too", (options) =>
  openTcpFixture(options, { plain: true, serverTls, childTls }),
);

testTransport("transport-tcp without TLS on a port that takes it", (options) =>
  openTcpFixture(options, { plain: true, serverTls }),
);

testTransport(
  "transport-tcp with mutual TLS on connections that somebody else accepts",
  (options) => openTcpFixture(options, { plain: false, serverTls, childTls, isHandedOver: true }),
);
