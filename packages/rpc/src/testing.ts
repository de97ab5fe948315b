/** Certificates for tests; from where they are made. Exported as "@damselfly/rpc/testing". */
export { createTestAuthority, type TestAuthority } from "@damselfly/transport/testing";
