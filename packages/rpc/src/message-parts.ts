import { join } from "node:path";
import protobuf from "protobufjs";

/** A field, as far as its bytes can be misread. */
interface FieldShape {
  /** What it is written as. protobufjs reads it as that whatever its tag says. */
  readonly wireType: number;
  /** A number of 32 bits: protobufjs takes a varint that is longer than five bytes for one of ten. */
  readonly isNarrow: boolean;
  /** May also come as a list in one. */
  readonly isPackable: boolean;
  /** What is in it. Other fields hold nothing that costs more than its bytes. */
  readonly message?: MessageShape;
}

/** A message type. */
export interface MessageShape {
  readonly name: string;
  readonly fields: ReadonlyMap<number, FieldShape>;
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

export function shapeOfType(type: protobuf.Type): MessageShape {
  return shapeOf(type, new Map());
}

function shapeOf(type: protobuf.Type, known: Map<protobuf.Type, MessageShape>): MessageShape {
  const before = known.get(type);
  if (before !== undefined) return before;
  const fields = new Map<number, FieldShape>();
  const shape = { name: type.name, fields };
  known.set(type, shape); // before its fields: a type may hold itself
  for (const field of type.fieldsArray) {
    if (field instanceof protobuf.MapField) {
      const entry = new Map([
        [1, plainField(field.keyType)],
        [2, fieldOf(field, known)],
      ]);
      // On the wire a map is so many messages of a key and a value.
      fields.set(field.id, holding({ name: "entry", fields: entry }));
    } else {
      fields.set(field.id, { ...fieldOf(field, known), isPackable: field.repeated });
    }
  }
  return shape;
}

function fieldOf(field: protobuf.FieldBase, known: Map<protobuf.Type, MessageShape>): FieldShape {
  const { resolvedType } = field;
  if (resolvedType instanceof protobuf.Type) return holding(shapeOf(resolvedType, known));
  return plainField(resolvedType instanceof protobuf.Enum ? "int32" : field.type);
}

function holding(message: MessageShape): FieldShape {
  return { wireType: DELIMITED, isNarrow: false, isPackable: false, message };
}

const WIRE_TYPES: ReadonlyMap<string, number> = new Map(Object.entries(protobuf.types.basic));

function plainField(type: string): FieldShape {
  const wireType = WIRE_TYPES.get(type) ?? DELIMITED;
  const isNarrow = wireType === VARINT && !type.endsWith("64");
  return { wireType, isNarrow, isPackable: false };
}

/**
 * How many messages are within a message, up to `countMax + 1`: nothing is allocated. An empty message takes two bytes here and some 270
 * when it is decoded.
 *
 * Nothing is passed over that the decoder may read otherwise: what is written in a way that no encoder writes is refused.
 *
 * @throws {RangeError}
 */
export function countParts(bytes: Uint8Array, shape: MessageShape, countMax: number): number {
  const walk: Walk = { bytes, position: 0, count: 0, countMax, name: shape.name };
  countWithin(walk, bytes.byteLength, shape, 0);
  return walk.count;
}

interface Walk {
  readonly bytes: Uint8Array;
  position: number;
  count: number;
  readonly countMax: number;
  readonly name: string;
}

/** Wire types (protobuf's encoding guide). */
const VARINT = 0;
const FIXED64 = 1;
const DELIMITED = 2;
const FIXED32 = 5;

/** A varint of 32 bits; one of 64, as negative numbers are written in either. Bytes. */
const NARROW_LENGTH_MAX = 5;
const WIDE_LENGTH_MAX = 10;

function countWithin(walk: Walk, end: number, shape: MessageShape, depth: number): void {
  while (walk.position < end) {
    const tag = readNarrow(walk, end);
    const wireType = tag % 8;
    const field = shape.fields.get(Math.floor(tag / 8));
    const isPacked = field?.isPackable === true && wireType === DELIMITED;
    if (field !== undefined && wireType !== field.wireType && !isPacked)
      throw malformed(walk, "a field has another type than it has");
    if (wireType === VARINT) skipVarint(walk, end, field);
    else if (wireType === FIXED64) skip(walk, end, 8);
    else if (wireType === FIXED32) skip(walk, end, 4);
    else if (wireType !== DELIMITED) throw malformed(walk, "it has groups");
    else {
      const length = readNarrow(walk, end);
      if (length > end - walk.position) throw malformed(walk, "it is cut short");
      const innerEnd = walk.position + length;
      if (field?.message !== undefined) {
        walk.count += 1;
        if (walk.count > walk.countMax) return;
        if (depth < DEPTH_MAX) countWithin(walk, innerEnd, field.message, depth + 1);
        if (walk.count > walk.countMax) return;
      } else if (isPacked && field.wireType === VARINT) {
        while (walk.position < innerEnd) skipVarint(walk, innerEnd, field);
      }
      walk.position = innerEnd;
    }
  }
}

function skip(walk: Walk, end: number, length: number): void {
  walk.position += length;
  if (walk.position > end) throw malformed(walk, "it is cut short");
}

function skipVarint(walk: Walk, end: number, field: FieldShape | undefined): void {
  const start = walk.position;
  while (walk.position < end && (walk.bytes[walk.position] ?? 0) >= 0x80) walk.position += 1;
  skip(walk, end, 1);
  const length = walk.position - start;
  const isOdd = field?.isNarrow === true && length > NARROW_LENGTH_MAX && length < WIDE_LENGTH_MAX;
  if (isOdd || length > WIDE_LENGTH_MAX) throw malformed(walk, "it has an odd number");
}

/** A tag or a length. */
function readNarrow(walk: Walk, end: number): number {
  let value = 0;
  let factor = 1;
  for (let length = 1; length <= NARROW_LENGTH_MAX && walk.position < end; length += 1) {
    const byte = walk.bytes[walk.position] ?? 0;
    walk.position += 1;
    value += (byte & 0x7f) * factor;
    if (byte < 0x80 && value <= 0xffff_ffff) return value;
    factor *= 128;
  }
  throw malformed(walk, "it has an odd length, or is cut short");
}

function malformed({ name, position }: Walk, what: string): RangeError {
  return new RangeError(`Cannot decode ${name}: ${what}, before byte ${position}`);
}
