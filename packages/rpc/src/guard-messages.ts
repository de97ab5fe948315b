import type { MethodDefinition, ServiceDefinition } from "@grpc/proto-loader";
import { countParts, type MessageShape } from "./message-parts.ts";

/** How many messages there may be within one. */
export interface PartCountsMax {
  readonly request: number;
  readonly response: number;
}

/** An empty message within another: a tag and a length. Bytes. */
const PART_LENGTH_MIN = 2;

/**
 * The same service, whose messages are looked at before they are decoded: one with too many messages in it is not. grpc-js answers such a
 * request `INTERNAL`, and fails such a response in the same way.
 *
 * @param options.shapes called once, when a message comes that may be too much
 */
export function guardMessages(
  definition: ServiceDefinition,
  options: {
    readonly countMax: PartCountsMax;
    readonly shapes: () => ReadonlyMap<
      string,
      { readonly request: MessageShape; readonly response: MessageShape }
    >;
  },
): ServiceDefinition {
  const { countMax } = options;
  let loaded: ReturnType<typeof options.shapes> | undefined;
  const guard = (
    method: string,
    kind: keyof PartCountsMax,
    deserialize: (bytes: Buffer) => object,
  ): ((bytes: Buffer) => object) => {
    const max = countMax[kind];
    return (bytes) => {
      if (bytes.byteLength > max * PART_LENGTH_MIN) {
        loaded ??= options.shapes();
        const shape = loaded.get(method)?.[kind];
        if (shape !== undefined && countParts(bytes, shape, max) > max) {
          throw new RangeError(
            `Cannot decode ${shape.name}: more than ${max} messages are in it, in ${bytes.byteLength} bytes`,
          );
        }
      }
      return deserialize(bytes);
    };
  };
  const guarded = Object.entries(definition).map(([name, method]) => {
    const replaced: MethodDefinition<object, object> = {
      ...method,
      requestDeserialize: guard(name, "request", method.requestDeserialize),
      responseDeserialize: guard(name, "response", method.responseDeserialize),
    };
    return [name, replaced] as const;
  });
  return Object.fromEntries(guarded);
}
