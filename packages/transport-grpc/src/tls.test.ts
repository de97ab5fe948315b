import { createTestAuthority } from "@damselfly/rpc/testing";
import { testTransport } from "@damselfly/transport/conformance";
import { openGrpcFixture } from "./testing/open-grpc-fixture.ts";

const authority = await createTestAuthority();
const tls = await authority.issue();

testTransport("transport-grpc with mutual TLS", (options) => openGrpcFixture(options, { tls }));

testTransport(
  "transport-grpc with mutual TLS on connections that somebody else accepts",
  (options) => openGrpcFixture(options, { tls, isHandedOver: true }),
);
