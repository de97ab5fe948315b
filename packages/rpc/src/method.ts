/*
 * The shape of a service as types only: `generated/services.ts` says for each method its kind and four types, and the
 * mapped types of client.ts and handlers.ts make signatures of them. No value of these types ever exists.
 */

interface Method<RequestInput, Request, ResponseInput, Response> {
  /** What a caller passes in. */
  readonly requestInput: RequestInput;
  /** What the handler is given. */
  readonly request: Request;
  /** What the handler answers. */
  readonly responseInput: ResponseInput;
  /** What a caller gets. */
  readonly response: Response;
}

/** One request, one response. */
export interface UnaryMethod<RequestInput, Request, ResponseInput, Response> extends Method<
  RequestInput,
  Request,
  ResponseInput,
  Response
> {
  readonly kind: "unary";
}

/** One request, any number of responses. */
export interface ServerStreamMethod<RequestInput, Request, ResponseInput, Response> extends Method<
  RequestInput,
  Request,
  ResponseInput,
  Response
> {
  readonly kind: "server-stream";
}

/** Any number of both, in any order. */
export interface DuplexMethod<RequestInput, Request, ResponseInput, Response> extends Method<
  RequestInput,
  Request,
  ResponseInput,
  Response
> {
  readonly kind: "duplex";
}
