import { join } from "node:path";
import protobuf from "protobufjs";

/** A message type: which of its fields hold messages, and of what type. Others hold nothing that costs more than its bytes. */
export interface MessageShape {
  readonly name: string;
  readonly messages: ReadonlyMap<number, MessageShape>;
}

/** Deeper ones protobufjs refuses by itself. */
const DEPTH_MAX = 100;

/**
 * What the methods of a service take and return, by the method's name in the .proto file. Reads the file.
 *
 * @param from.file within `from.directory`
 */
export function loadShapes(
  service: string,
  from: { readonly directory: string; readonly file: string },
): ReadonlyMap<string, { readonly request: MessageShape; readonly response: MessageShape }> {
  const root = new protobuf.Root();
  root.resolvePath = (_, file) => join(from.directory, file);
  root.loadSync(from.file, { keepCase: true }).resolveAll();
  const known = new Map<protobuf.Type, MessageShape>();
  const shapes = new Map<string, { request: MessageShape; response: MessageShape }>();
  for (const method of root.lookupService(service).methodsArray) {
    const { name, resolvedRequestType: request, resolvedResponseType: response } = method;
    if (request === null || response === null) continue;
    shapes.set(name, { request: shapeOf(request, known), response: shapeOf(response, known) });
  }
  return shapes;
}

function shapeOf(type: protobuf.Type, known: Map<protobuf.Type, MessageShape>): MessageShape {
  const before = known.get(type);
  if (before !== undefined) return before;
  const messages = new Map<number, MessageShape>();
  const shape = { name: type.name, messages };
  known.set(type, shape); // before its fields: a type may hold itself
  for (const field of type.fieldsArray) {
    if (field instanceof protobuf.MapField) messages.set(field.id, MAP_ENTRY);
    else if (field.resolvedType instanceof protobuf.Type) {
      messages.set(field.id, shapeOf(field.resolvedType, known));
    }
  }
  return shape;
}

/** On the wire a map is so many messages of a key and a value; what is in a value counts no further. */
const MAP_ENTRY: MessageShape = { name: "entry", messages: new Map() };

/**
 * How many messages are within a message, up to `countMax + 1`: nothing is allocated, and what is no protobuf is left to the decoder.
 * An empty message takes two bytes here and some 270 when it is decoded.
 */
export function countParts(bytes: Uint8Array, shape: MessageShape, countMax: number): number {
  return countWithin({ bytes, position: 0, count: 0, countMax }, bytes.byteLength, shape, 0).count;
}

interface Walk {
  readonly bytes: Uint8Array;
  position: number;
  count: number;
  readonly countMax: number;
}

/** Wire types (protobuf's encoding guide). */
const VARINT = 0;
const FIXED64 = 1;
const DELIMITED = 2;
const FIXED32 = 5;

function countWithin(walk: Walk, end: number, shape: MessageShape, depth: number): Walk {
  while (walk.position < end && walk.count <= walk.countMax) {
    const tag = readVarint(walk, end);
    const [field, wireType] = [Math.floor(tag / 8), tag % 8];
    if (wireType === VARINT) {
      readVarint(walk, end);
    } else if (wireType === FIXED64) {
      walk.position += 8;
    } else if (wireType === FIXED32) {
      walk.position += 4;
    } else if (wireType === DELIMITED) {
      const length = readVarint(walk, end);
      const inner = shape.messages.get(field);
      const innerEnd = walk.position + length;
      if (innerEnd > end) return walk; // cut short
      if (inner !== undefined) {
        walk.count += 1;
        if (depth < DEPTH_MAX) countWithin(walk, innerEnd, inner, depth + 1);
        if (walk.count > walk.countMax) return walk;
      }
      walk.position = innerEnd;
    } else {
      return walk; // groups, which nobody writes any more, and nonsense
    }
  }
  return walk;
}

/** Exact up to 2^53, and no length or tag is greater; stops at `end`. */
function readVarint(walk: Walk, end: number): number {
  let value = 0;
  let factor = 1;
  while (walk.position < end) {
    const byte = walk.bytes[walk.position] ?? 0;
    walk.position += 1;
    value += (byte & 0x7f) * factor;
    if (byte < 0x80) break;
    factor *= 128;
  }
  return value;
}
