import {
  loadSync,
  type AnyDefinition,
  type MethodDefinition,
  type Options,
  type PackageDefinition,
  type ServiceDefinition,
} from "@grpc/proto-loader";
import { fileURLToPath } from "node:url";
import { guardMessages, type PartCountsMax } from "./guard-messages.ts";
import { loadShapes } from "./message-parts.ts";
import type {
  CacheMethods,
  DfdaemonDownloadMethods,
  DfdaemonUploadMethods,
  HealthMethods,
  ManagerMethods,
  PieceTransferMethods,
  SchedulerMethods,
  ServerReflectionMethods,
} from "./generated/services.ts";

/** Every service that proto/ describes, by full name, with its methods. */
export interface Services {
  readonly "damselfly.v1.Cache": CacheMethods;
  readonly "damselfly.v1.PieceTransfer": PieceTransferMethods;
  readonly "dfdaemon.v2.DfdaemonDownload": DfdaemonDownloadMethods;
  readonly "dfdaemon.v2.DfdaemonUpload": DfdaemonUploadMethods;
  readonly "grpc.health.v1.Health": HealthMethods;
  readonly "grpc.reflection.v1.ServerReflection": ServerReflectionMethods;
  readonly "manager.v2.Manager": ManagerMethods;
  readonly "scheduler.v2.Scheduler": SchedulerMethods;
}

export type ServiceName = keyof Services;

/** A method as grpc-js wants it, by its name in lower camel case. */
export type LoadedMethod = MethodDefinition<object, object>;

/** A service as loaded from its .proto file. */
export interface LoadedService {
  /** `package.Service`. */
  readonly name: string;
  readonly definition: ServiceDefinition;
  readonly methods: ReadonlyMap<string, LoadedMethod>;
}

/**
 * Loads a service from proto/, once a process and only when asked: a program that makes one call should not parse
 * what it never uses.
 */
export function loadService(name: ServiceName): LoadedService {
  let service = loadedServices.get(name);
  if (service === undefined) {
    service = load(name);
    loadedServices.set(name, service);
  }
  return service;
}

const loadedServices = new Map<ServiceName, LoadedService>();

// src/ and dist/ lie equally deep.
const protoDirectory = fileURLToPath(new URL("../../../proto", import.meta.url));

const protoFiles: Record<ServiceName, string> = {
  "damselfly.v1.Cache": "damselfly/v1/cache.proto",
  "damselfly.v1.PieceTransfer": "damselfly/v1/piece_transfer.proto",
  "dfdaemon.v2.DfdaemonDownload": "dfdaemon/v2/dfdaemon.proto",
  "dfdaemon.v2.DfdaemonUpload": "dfdaemon/v2/dfdaemon.proto",
  "grpc.health.v1.Health": "grpc/health/v1/health.proto",
  "grpc.reflection.v1.ServerReflection": "grpc/reflection/v1/reflection.proto",
  "manager.v2.Manager": "manager/v2/manager.proto",
  "scheduler.v2.Scheduler": "scheduler/v2/scheduler.proto",
};

/**
 * Messages within one message, at most. Each takes some 270 bytes when it is decoded, and may take two on the wire: 8 MiB of them would be
 * a gigabyte. Where pieces are listed, they are three each.
 */
const PART_COUNTS_MAX: Record<ServiceName, PartCountsMax> = {
  // Everything that a node holds, listed to the programs on it.
  "damselfly.v1.Cache": { request: 100_000, response: 1_000_000 },
  "damselfly.v1.PieceTransfer": { request: 100, response: 100 },
  // To the programs on this node all pieces of a task may be listed.
  "dfdaemon.v2.DfdaemonDownload": { request: 1_000, response: 4_000_000 },
  "dfdaemon.v2.DfdaemonUpload": { request: 1_000, response: 200_000 },
  "grpc.health.v1.Health": { request: 10, response: 10 },
  "grpc.reflection.v1.ServerReflection": { request: 10, response: 10_000 },
  "manager.v2.Manager": { request: 1_000, response: 100_000 },
  // As many pieces as a message of 8 MiB has room for.
  "scheduler.v2.Scheduler": { request: 500_000, response: 500_000 },
};

/** What scripts/generate-rpc.mjs generates the types for. */
const loadOptions: Options = {
  keepCase: false,
  longs: Number,
  enums: String,
  defaults: true,
  oneofs: true,
  includeDirs: [protoDirectory],
};

/** By file: two services of one file, and what they have in common, are read and compiled once. */
const packages = new Map<string, PackageDefinition>();

function loadPackage(file: string): PackageDefinition {
  const loaded = packages.get(file) ?? loadSync(file, loadOptions);
  packages.set(file, loaded);
  return loaded;
}

function load(name: ServiceName): LoadedService {
  const definition = loadPackage(protoFiles[name])[name];
  if (!isService(definition)) throw new Error(`Cannot load ${name}: ${protoFiles[name]} lacks it`);
  const guarded = guardMessages(definition, {
    countMax: PART_COUNTS_MAX[name],
    shapes: () => loadShapes(name, { directory: protoDirectory, file: protoFiles[name] }),
  });
  const methods = Object.entries(guarded).map(
    ([methodName, method]) => [method.originalName ?? methodName, method] as const,
  );
  return { name, definition: guarded, methods: new Map(methods) };
}

function isService(definition: AnyDefinition | undefined): definition is ServiceDefinition {
  return definition !== undefined && !("format" in definition);
}
