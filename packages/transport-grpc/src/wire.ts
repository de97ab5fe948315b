/** Content bytes a message, at most. See bench/transport-grpc.ts. */
export const CONTENT_LENGTH_MAX = 262_144;
