import { createTestAuthority } from "@damselfly/rpc/testing";
import { testTransport } from "@damselfly/transport/conformance";
import { openQuicFixture } from "./testing/open-quic-fixture.ts";

const authority = await createTestAuthority();
const tls = await authority.issue();

testTransport("transport-quic with mutual TLS", (options) => openQuicFixture(options, tls));
