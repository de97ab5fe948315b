import descriptor, {
  type IDescriptorProto,
  type IEnumDescriptorProto,
  type IFileDescriptorProto,
} from "protobufjs/ext/descriptor/index.js";
import type { LoadedService } from "./load-service.ts";

/** What a server's services are made of, as reflection tells it. */
export interface ReflectionIndex {
  /** The file of this name and all that it needs, encoded; undefined: there is none. */
  fileByName(name: string): readonly Uint8Array[] | undefined;
  /** The same for the file that defines a message, an enum, a service or anything within one. */
  fileOfSymbol(symbol: string): readonly Uint8Array[] | undefined;
}

interface IndexedFile {
  readonly descriptor: IFileDescriptorProto & { readonly name: string; dependency: string[] };
  encoded: Uint8Array;
}

/**
 * Takes the descriptors that proto-loader keeps. It merges the files of a package into one and leaves out what a file imports
 * (grpc/grpc-node#2595), without which no tool can read them: both the imports and full names of types are put in here.
 */
export function createReflectionIndex(
  services: readonly LoadedService[],
  options: {
    /** Packages that are also there under another name. */
    readonly aliases: ReadonlyMap<string, string>;
  },
): ReflectionIndex {
  const files = new Map<string, IndexedFile>();
  const add = (file: IFileDescriptorProto, name: string): void =>
    void files.set(name, {
      descriptor: Object.assign(file, { name, dependency: [] }),
      encoded: new Uint8Array(0),
    });
  for (const bytes of services.flatMap(descriptorsOf)) {
    const file = decode(bytes);
    if (file.name === undefined || files.has(file.name)) continue;
    add(file, file.name);
    const alias = options.aliases.get(file.package ?? "");
    if (alias !== undefined) add({ ...decode(bytes), package: alias }, `${alias}.proto`);
  }
  const owners = new Map<string, IndexedFile>();
  for (const file of files.values()) {
    for (const symbol of symbolsOf(file.descriptor)) owners.set(symbol, file);
  }
  for (const file of files.values()) {
    link(file, owners);
    file.encoded = descriptor.FileDescriptorProto.encode(file.descriptor).finish();
  }

  const withNeeds = (file: IndexedFile | undefined): readonly Uint8Array[] | undefined => {
    if (file === undefined) return undefined;
    const needed = new Set([file]);
    // A set goes on with what is added to it.
    for (const each of needed) {
      for (const name of each.descriptor.dependency) {
        const dependency = files.get(name);
        if (dependency !== undefined) needed.add(dependency);
      }
    }
    return [...needed].map(({ encoded }) => encoded);
  };
  return {
    fileByName: (name) => withNeeds(files.get(name)),
    fileOfSymbol: (symbol) => withNeeds(ownerOf(symbol, owners)),
  };
}

function decode(bytes: Uint8Array): IFileDescriptorProto {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it decodes to nothing else
  const file = descriptor.FileDescriptorProto.decode(bytes) as IFileDescriptorProto;
  for (const message of file.messageType ?? []) restoreNames(message);
  return file;
}

/** The loader has made `someField` of every `some_field`, and calls the type of a map's entries otherwise than protobuf wants it. */
function restoreNames(message: IDescriptorProto): void {
  for (const nested of message.nestedType ?? []) {
    restoreNames(nested);
    if (nested.options?.mapEntry === true && nested.name?.endsWith("Entry") === false)
      nested.name += "Entry";
  }
  const entries = new Map(
    (message.nestedType ?? [])
      .filter(({ options }) => options?.mapEntry === true)
      .map(({ name = "" }) => [name.slice(0, -"Entry".length), name]),
  );
  for (const field of message.field ?? []) {
    const { name = "", typeName = "" } = field;
    const entry = entries.get(typeName);
    if (entry !== undefined && typeName === `${name.charAt(0).toUpperCase()}${name.slice(1)}`)
      field.typeName = entry;
    const oneof = message.oneofDecl?.[field.oneofIndex ?? -1]?.name ?? "";
    Object.assign(field, {
      name: snakeCase(name),
      jsonName: name,
      // What the compiler calls the oneof that it makes of an optional field.
      proto3Optional: oneof === `_${name}`,
    });
  }
  // Its ends are counted otherwise; they only keep authors of .proto files from using a number again.
  message.reservedRange = [];
  for (const oneof of message.oneofDecl ?? []) oneof.name = snakeCase(oneof.name ?? "");
}

function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Of everything that a service's methods take and return. */
function descriptorsOf({ definition }: LoadedService): readonly Uint8Array[] {
  return Object.values(definition).flatMap(({ requestType, responseType }) =>
    [requestType, responseType].flatMap((type) =>
      type !== undefined && "fileDescriptorProtos" in type ? messageFiles(type) : [],
    ),
  );
}

function messageFiles(type: object): readonly Uint8Array[] {
  const files: unknown = Reflect.get(type, "fileDescriptorProtos");
  return Array.isArray(files) ? files.filter((file) => file instanceof Uint8Array) : [];
}

/** Full names of messages, enums and services. */
function symbolsOf(file: IFileDescriptorProto): readonly string[] {
  const scope = file.package ?? "";
  return [
    ...(file.messageType ?? []).flatMap((message) => messageSymbols(scope, message)),
    ...(file.enumType ?? []).map((type) => within(scope, type)),
    ...(file.service ?? []).map((service) => within(scope, service)),
  ];
}

function messageSymbols(scope: string, message: IDescriptorProto): readonly string[] {
  const name = within(scope, message);
  return [
    name,
    ...(message.nestedType ?? []).flatMap((nested) => messageSymbols(name, nested)),
    ...(message.enumType ?? []).map((type: IEnumDescriptorProto) => within(name, type)),
  ];
}

function within(scope: string, { name = "" }: { readonly name?: string }): string {
  return scope === "" ? name : `${scope}.${name}`;
}

/** Gives every reference its full name, and the file the imports that these ask for. */
function link(file: IndexedFile, owners: ReadonlyMap<string, IndexedFile>): void {
  const imports = new Set<IndexedFile>();
  const resolve = (reference: string | undefined, scope: string): string | undefined => {
    if (reference === undefined || reference === "") return undefined;
    const name = fullName(reference, scope, owners);
    const owner = owners.get(name);
    if (owner !== undefined && owner !== file) imports.add(owner);
    return `.${name}`;
  };
  const linkMessage = (scope: string, message: IDescriptorProto): void => {
    const name = within(scope, message);
    for (const field of message.field ?? []) {
      const typeName = resolve(field.typeName, name);
      if (typeName !== undefined) field.typeName = typeName;
    }
    for (const nested of message.nestedType ?? []) linkMessage(name, nested);
  };
  const scope = file.descriptor.package ?? "";
  for (const message of file.descriptor.messageType ?? []) linkMessage(scope, message);
  for (const service of file.descriptor.service ?? []) {
    for (const method of service.method ?? []) {
      const name = within(scope, service);
      Object.assign(method, {
        inputType: resolve(method.inputType, name),
        outputType: resolve(method.outputType, name),
      });
    }
  }
  file.descriptor.dependency = [...imports].map(({ descriptor: { name } }) => name);
}

/** As protobuf looks names up: in the innermost scope first. */
function fullName(
  reference: string,
  scope: string,
  owners: ReadonlyMap<string, IndexedFile>,
): string {
  if (reference.startsWith(".")) return reference.slice(1);
  for (let at = scope; at !== ""; at = at.slice(0, Math.max(at.lastIndexOf("."), 0))) {
    if (owners.has(`${at}.${reference}`)) return `${at}.${reference}`;
  }
  return reference;
}

/** What is within a message or a service is where that is. */
function ownerOf(
  symbol: string,
  owners: ReadonlyMap<string, IndexedFile>,
): IndexedFile | undefined {
  const owner = owners.get(symbol);
  if (owner !== undefined) return owner;
  const dot = symbol.lastIndexOf(".");
  return dot === -1 ? undefined : owners.get(symbol.slice(0, dot));
}
