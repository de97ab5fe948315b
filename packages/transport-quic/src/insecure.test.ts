import { testTransport } from "@damselfly/transport/conformance";
import { openQuicFixture } from "./testing/open-quic-fixture.ts";

// Over plain sockets; the suite with certificates runs over the better ones, where there are any.
testTransport("transport-quic without certificates, datagram by datagram", (options) =>
  openQuicFixture(options, undefined, "dgram"),
);
