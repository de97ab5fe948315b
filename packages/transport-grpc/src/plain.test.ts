import { testTransport } from "@damselfly/transport/conformance";
import { openGrpcFixture } from "./testing/open-grpc-fixture.ts";

testTransport("transport-grpc without TLS", (options) => openGrpcFixture(options));
