import {
  loadSync,
  type AnyDefinition,
  type MethodDefinition,
  type Options,
  type ServiceDefinition,
} from "@grpc/proto-loader";
import { fileURLToPath } from "node:url";
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

/** What scripts/generate-rpc.mjs generates the types for. */
const loadOptions: Options = {
  keepCase: false,
  longs: Number,
  enums: String,
  defaults: true,
  oneofs: true,
  includeDirs: [protoDirectory],
};

function load(name: ServiceName): LoadedService {
  const definition = loadSync(protoFiles[name], loadOptions)[name];
  if (!isService(definition)) throw new Error(`Cannot load ${name}: ${protoFiles[name]} lacks it`);
  const methods = Object.entries(definition).map(
    ([methodName, method]) => [method.originalName ?? methodName, method] as const,
  );
  return { name, definition, methods: new Map(methods) };
}

function isService(definition: AnyDefinition | undefined): definition is ServiceDefinition {
  return definition !== undefined && !("format" in definition);
}
