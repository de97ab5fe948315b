import type {
  ServerReflectionRequest__Output,
  ServerReflectionResponse,
} from "./generated/messages.ts";
import { implementService, type ImplementedService } from "./implement-service.ts";
import type { LoadedService } from "./load-service.ts";
import type { ReflectionIndex } from "./reflection-index.ts";
import { status } from "./rpc-error.ts";
import { statusCode, type StatusName } from "./status.ts";

/** Questions on one stream; a tool asks a dozen. */
const QUESTION_COUNT_MAX = 1_000;

/** Streams at once: what is asked and not answered yet is held for each. */
const STREAM_COUNT_MAX = 32;

const PACKAGE = "grpc.reflection.v1";
const SERVICE = `${PACKAGE}.ServerReflection`;
const ALPHA_PACKAGE = "grpc.reflection.v1alpha";
const ALPHA_SERVICE = `${ALPHA_PACKAGE}.ServerReflection`;

/**
 * gRPC server reflection for a server with these services, in both of its versions: v1alpha is v1 under another name, which is what older
 * tools ask for. What the services are made of is only looked at when somebody asks.
 */
export function createReflectionServices(
  services: readonly LoadedService[],
): readonly ImplementedService[] {
  let index: Promise<ReflectionIndex> | undefined;
  let streamCount = 0;
  const names = [...services.map(({ name }) => name), SERVICE, ALPHA_SERVICE];
  const v1 = implementService(SERVICE, {
    async serverReflectionInfo({ requests, write }) {
      if (streamCount >= STREAM_COUNT_MAX) {
        throw status("RESOURCE_EXHAUSTED", `${streamCount} ask already`);
      }
      streamCount += 1;
      let questionCount = 0;
      try {
        for await (const request of requests) {
          questionCount += 1;
          if (questionCount > QUESTION_COUNT_MAX) return;
          index ??= loadIndex([...services, v1.service]);
          await write(answer(request, names, await index));
        }
      } finally {
        streamCount -= 1;
      }
    },
  });
  return [v1, { ...v1, service: renamed(v1.service, ALPHA_SERVICE) }];
}

async function loadIndex(services: readonly LoadedService[]): Promise<ReflectionIndex> {
  const { createReflectionIndex } = await import("./reflection-index.ts");
  return createReflectionIndex(services, { aliases: new Map([[PACKAGE, ALPHA_PACKAGE]]) });
}

function answer(
  request: ServerReflectionRequest__Output,
  names: readonly string[],
  index: ReflectionIndex,
): ServerReflectionResponse {
  const response = { validHost: request.host, originalRequest: request };
  const file = (found: readonly Uint8Array[] | undefined, wanted: string): object =>
    found === undefined
      ? failure("NOT_FOUND", `Cannot describe ${wanted}: nothing here has that name`)
      : { fileDescriptorResponse: { fileDescriptorProto: found } };
  const { fileByFilename, fileContainingSymbol, fileContainingExtension } = request;
  const { allExtensionNumbersOfType, listServices } = request;
  if (listServices !== undefined) {
    return { ...response, listServicesResponse: { service: names.map((name) => ({ name })) } };
  }
  if (fileByFilename !== undefined) {
    return { ...response, ...file(index.fileByName(fileByFilename), fileByFilename) };
  }
  if (fileContainingSymbol !== undefined) {
    return { ...response, ...file(index.fileOfSymbol(fileContainingSymbol), fileContainingSymbol) };
  }
  if (fileContainingExtension || allExtensionNumbersOfType !== undefined) {
    return { ...response, ...failure("NOT_FOUND", "proto3 has no extensions") };
  }
  return { ...response, ...failure("INVALID_ARGUMENT", "Cannot answer: nothing was asked") };
}

function failure(code: StatusName, errorMessage: string): object {
  return { errorResponse: { errorCode: statusCode(code), errorMessage } };
}

/** The same methods, with the same bytes, at other paths. */
function renamed(service: LoadedService, name: string): LoadedService {
  const move = <Method extends { readonly path: string }>(method: Method): Method => ({
    ...method,
    path: method.path.replace(`/${service.name}/`, `/${name}/`),
  });
  return {
    name,
    definition: Object.fromEntries(
      Object.entries(service.definition).map(([key, method]) => [key, move(method)]),
    ),
    methods: new Map([...service.methods].map(([key, method]) => [key, move(method)])),
  };
}
