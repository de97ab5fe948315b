import { testTransport } from "@damselfly/transport/conformance";
import { openQuicFixture } from "./testing/open-quic-fixture.ts";

testTransport("transport-quic without certificates", (options) => openQuicFixture(options));
