import { testTransport } from "@damselfly/transport/conformance";
import { openTcpFixture } from "./testing/open-tcp-fixture.ts";

testTransport("transport-tcp without TLS", (options) => openTcpFixture(options, { plain: true }));
