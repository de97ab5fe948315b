/** Origins, proxies and certificates for tests: they live where the daemon's own tests reach them too, and where a build makes them plain JavaScript. */
export * from "../../packages/dfdaemon/src/testing/origin-server.ts";
export * from "../../packages/dfdaemon/src/testing/proxy-server.ts";
export * from "../../packages/dfdaemon/src/testing/test-certificates.ts";
