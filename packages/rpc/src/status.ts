import { status as statusCodes } from "@grpc/grpc-js";

/** A gRPC status by its name: `NOT_FOUND`, `UNAVAILABLE`, … */
export type StatusName = keyof typeof statusCodes;

/** A number that gRPC does not know is `UNKNOWN`. */
export function statusName(code: number): StatusName {
  const name = statusCodes[code];
  return isStatusName(name) ? name : "UNKNOWN";
}

export function statusCode(name: StatusName): statusCodes {
  return statusCodes[name];
}

function isStatusName(name: string | undefined): name is StatusName {
  return name !== undefined && name in statusCodes;
}
