import { once } from "node:events";
import { Client, type ClientDuplexStream, credentials } from "@grpc/grpc-js";
import { loadFileDescriptorSetFromBuffer } from "@grpc/proto-loader";
import descriptor from "protobufjs/ext/descriptor/index.js";
import { afterEach, describe, expect, it } from "vitest";
import type { ServerReflectionResponse__Output } from "./generated/messages.ts";
import { implementService } from "./implement-service.ts";
import { loadService } from "./load-service.ts";
import { serveRpc } from "./serve-rpc.ts";

const disposables: AsyncDisposable[] = [];

afterEach(async () => {
  for (const each of disposables.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

/** A caller that knows nothing of what it calls but where it is. */
async function openClient(): Promise<Client> {
  const upload = implementService("dfdaemon.v2.DfdaemonUpload", {
    statLocalTask: async ({ taskId }) => ({ taskId, uploadedCount: 7 }),
  });
  const server = await serveRpc({ address: { ip: "127.0.0.1", port: 0 }, services: [upload] });
  if (!("port" in server.address)) throw new TypeError("A port is wanted");
  const client = new Client(`127.0.0.1:${server.address.port}`, credentials.createInsecure());
  disposables.push(server, { [Symbol.asyncDispose]: async () => client.close() });
  return client;
}

const method = loadService("grpc.reflection.v1.ServerReflection").methods.get(
  "serverReflectionInfo",
)!;

/** Asks all questions on one stream. */
async function ask(
  client: Client,
  questions: readonly object[],
  version = "v1",
): Promise<ServerReflectionResponse__Output[]> {
  const call = client.makeBidiStreamRequest(
    `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`,
    method.requestSerialize,
    method.responseDeserialize,
  );
  for (const question of questions) call.write(question);
  call.end();
  const answers: ServerReflectionResponse__Output[] = [];
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what the deserializer above makes
  for await (const answer of call) answers.push(answer as ServerReflectionResponse__Output);
  return answers;
}

interface DescribedFile {
  readonly name: string;
  readonly dependency: readonly string[];
  readonly service: readonly { readonly name: string }[];
}

function filesIn(answer: ServerReflectionResponse__Output | undefined): DescribedFile[] {
  const { fileDescriptorProto = [] } = answer?.fileDescriptorResponse ?? {};
  return fileDescriptorProto.map((bytes) => {
    const file: unknown = descriptor.FileDescriptorProto.decode(bytes);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- checked by what is asked of it
    return file as DescribedFile;
  });
}

describe.each(["v1", "v1alpha"])("reflection, %s", (version) => {
  it("lists the services", async () => {
    const [answer] = await ask(await openClient(), [{ listServices: "*" }], version);
    expect(answer?.listServicesResponse?.service.map(({ name }) => name)).toEqual([
      "dfdaemon.v2.DfdaemonUpload",
      "grpc.health.v1.Health",
      "grpc.reflection.v1.ServerReflection",
      "grpc.reflection.v1alpha.ServerReflection",
    ]);
    expect(answer?.originalRequest).toMatchObject({ listServices: "*" });
  });

  it("gives with each file all that it imports", async () => {
    const symbols = [
      "dfdaemon.v2.DfdaemonUpload",
      "dfdaemon.v2.DfdaemonUpload.SyncPieces",
      "common.v2.Host",
      "common.v2.Host.port",
      "common.v2.SizeScope",
      "google.protobuf.Timestamp",
      "grpc.health.v1.HealthCheckResponse.ServingStatus",
      "grpc.reflection.v1.ServerReflection",
      "grpc.reflection.v1alpha.ServerReflection",
    ];
    const questions = symbols.map((fileContainingSymbol) => ({ fileContainingSymbol }));
    const answers = await ask(await openClient(), questions, version);
    expect(answers).toHaveLength(symbols.length);
    for (const answer of answers) {
      const files = filesIn(answer);
      const names = files.map(({ name }) => name);
      expect(names.length).toBeGreaterThan(0);
      for (const { dependency } of files)
        expect(names).toEqual(expect.arrayContaining([...dependency]));
    }
    expect(filesIn(answers[0])[0]?.dependency).toContain("common_v2.proto");
  });
});

describe("reflection", () => {
  it("is enough to call a service by", async () => {
    const client = await openClient();
    const [answer] = await ask(client, [{ fileContainingSymbol: "dfdaemon.v2.DfdaemonUpload" }]);
    const file = answer!.fileDescriptorResponse!.fileDescriptorProto.map((bytes) =>
      descriptor.FileDescriptorProto.decode(bytes),
    );
    const set = descriptor.FileDescriptorSet.encode({ file }).finish();
    const definition = loadFileDescriptorSetFromBuffer(Buffer.from(set))[
      "dfdaemon.v2.DfdaemonUpload"
    ];
    if (definition === undefined || "format" in definition) throw new Error("it is no service");
    const { path, requestSerialize, responseDeserialize } = definition["StatLocalTask"]!;
    const response = await new Promise<object | undefined>((resolve, reject) => {
      client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        { task_id: "t" },
        (error, value) => (error ? reject(error) : resolve(value)),
      );
    });
    expect(response).toMatchObject({ task_id: "t" });
  });

  it("finds a file by its name, and says what it does not find", async () => {
    const [byName, noFile, noSymbol, extension, numbers, nothing] = await ask(await openClient(), [
      { fileByFilename: "common_v2.proto" },
      { fileByFilename: "/etc/passwd" },
      { fileContainingSymbol: "no.such.Thing" },
      { fileContainingExtension: { containingType: "common.v2.Host", extensionNumber: 1 } },
      { allExtensionNumbersOfType: "common.v2.Host" },
      {},
    ]);
    expect(filesIn(byName)[0]?.name).toBe("common_v2.proto");
    for (const missing of [noFile, noSymbol, extension, numbers])
      expect(missing?.errorResponse).toMatchObject({ errorCode: 5 });
    expect(nothing?.errorResponse).toMatchObject({ errorCode: 3 });
  });
});

it.each([
  [1_000, 1_000],
  [1_001, 1_000],
  [20_000, 1_000],
])("of %i questions on one stream reflection answers %i", async (count, answeredCount) => {
  const questions = Array.from({ length: count }, () => ({ fileByFilename: "none" }));
  expect(await ask(await openClient(), questions)).toHaveLength(answeredCount);
});

it("reflection has room for so many askers at once, and for others when they have left", async () => {
  const client = await openClient();
  const open = (): ClientDuplexStream<object, object> => {
    const call = client.makeBidiStreamRequest(
      "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
      method.requestSerialize,
      method.responseDeserialize,
    );
    call.on("error", () => {});
    call.write({ listServices: "" });
    return call;
  };
  const calls = Array.from({ length: 32 }, open);
  for (const call of calls) await once(call, "data");
  for (let count = 0; count < 10; count += 1) {
    const call = open().resume();
    const status = await new Promise((resolve) => call.once("status", resolve));
    expect(status).toMatchObject({ code: 8, details: "32 ask already" });
  }
  for (const call of calls) call.cancel();
  await expect.poll(() => ask(client, [{ listServices: "" }]).catch(() => [])).toHaveLength(1);
});
