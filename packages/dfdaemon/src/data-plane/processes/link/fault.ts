import { StorageError } from "@damselfly/storage";
import { TransportError } from "@damselfly/transport";
import { DaemonError } from "../../../errors.ts";
import { OriginError } from "../../../origins/origin-error.ts";
import { toError } from "../../../to-error.ts";

/** Causes further down than this are not told. */
const DEPTH_MAX = 5;

/** An error as it crosses from one process to the other: what callers branch on, and what people read. */
export interface Fault {
  /** The class, as `name` has it. */
  readonly name: string;
  readonly message: string;
  readonly code?: string;
  /** Of an `OriginError`. */
  readonly answer?: {
    readonly statusCode: number;
    readonly reason: string;
    readonly responseHeader: Readonly<Record<string, string>>;
  };
  /** Of an `OriginError`. */
  readonly at?: string;
  readonly cause?: Fault;
}

export function encodeFault(thrown: unknown, depth = 0): Fault {
  const error = toError(thrown);
  const { name, message, cause } = error;
  const code = "code" in error && typeof error.code === "string" ? error.code : undefined;
  return {
    name,
    message,
    ...(code === undefined ? {} : { code }),
    ...(error instanceof OriginError ? answerOf(error) : {}),
    ...(cause === undefined || depth >= DEPTH_MAX ? {} : { cause: encodeFault(cause, depth + 1) }),
  };
}

/** The same class, code and message; an error of another class comes back as a plain one with its name and code. */
export function decodeFault(fault: Fault): Error {
  const { name, message, code } = fault;
  const options = fault.cause === undefined ? {} : { cause: decodeFault(fault.cause) };
  const create = CLASSES[name];
  if (create !== undefined) return create(fault, options);
  return Object.assign(new Error(message, options), code === undefined ? { name } : { name, code });
}

// oxlint-disable typescript/no-unsafe-type-assertion -- codes were encoded from the very same classes
const CLASSES: Readonly<Record<string, (fault: Fault, options: ErrorOptions) => Error>> = {
  TransportError: ({ code, message }, options) =>
    new TransportError(code as TransportError["code"], message, options),
  StorageError: ({ code, message }, options) =>
    new StorageError(code as StorageError["code"], message, options),
  DaemonError: ({ code, message }, options) =>
    new DaemonError(code as DaemonError["code"], message, options),
  OriginError: ({ code, message, answer, at }, options) =>
    new OriginError(code as OriginError["code"], message, { ...options, answer, at }),
  RangeError: ({ message }, options) => new RangeError(message, options),
  TypeError: ({ message }, options) => new TypeError(message, options),
};
// oxlint-enable typescript/no-unsafe-type-assertion

function answerOf(error: OriginError): Pick<Fault, "answer" | "at"> {
  const { statusCode, reason, responseHeader, at } = error;
  const where = at === undefined ? {} : { at };
  if (statusCode === undefined || reason === undefined || responseHeader === undefined)
    return where;
  return { ...where, answer: { statusCode, reason, responseHeader } };
}
