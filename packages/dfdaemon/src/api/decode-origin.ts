import { X509Certificate } from "node:crypto";
import type { Download__Output } from "@damselfly/rpc";
import { DaemonError } from "../errors.ts";
import type { OriginRequest } from "../origins/origin.ts";
import { redactUrl } from "../origins/redact-url.ts";

/** What several of Dragonfly's messages say about an origin. */
type OriginMessage = Pick<
  Download__Output,
  | "url"
  | "requestHeader"
  | "certificateChain"
  | "objectStorage"
  | "hdfs"
  | "huggingFace"
  | "modelScope"
  | "openCsg"
>;

/** @throws {DaemonError} `ERR_REQUEST` for a user or certificates that cannot be read, `ERR_UNSUPPORTED` for what is no HTTP origin */
export function decodeOrigin(
  message: OriginMessage,
  options: {
    /** Certificates of the origin are not checked. */
    readonly insecure: boolean;
  },
): OriginRequest {
  const { url, authorization } = decodeUrl(message.url);
  const { requestHeader } = message;
  const header =
    authorization === undefined || hasAuthorization(requestHeader)
      ? requestHeader
      : { ...requestHeader, authorization };
  if (
    message.objectStorage ||
    message.hdfs ||
    message.huggingFace ||
    message.modelScope ||
    message.openCsg
  ) {
    throw unsupported("only http and https origins are supported");
  }
  const caCert = decodeCertificates(message.certificateChain);
  return {
    url,
    header,
    ...(caCert === undefined ? {} : { caCert }),
    ...(options.insecure ? { insecure: true } : {}),
  };
}

/** The URL without the user it names; that one becomes a header, so that it is treated as the secret it is. */
function decodeUrl(text: string): { readonly url: string; readonly authorization?: string } {
  if (!URL.canParse(text)) throw unsupported(`'${redactUrl(text).slice(0, 200)}' is not a URL`);
  const url = new URL(text);
  const { protocol, username, password } = url;
  if (protocol !== "http:" && protocol !== "https:") {
    throw unsupported(`the URL's scheme is '${protocol.slice(0, -1)}', expected http or https`);
  }
  if (username === "" && password === "") return { url: text };
  url.username = "";
  url.password = "";
  let user: string;
  try {
    user = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  } catch (error) {
    throw new DaemonError(
      "ERR_REQUEST",
      "Cannot read request: the user in the URL is not encoded as a URL wants it",
      { cause: error },
    );
  }
  return { url: url.href, authorization: `Basic ${Buffer.from(user).toString("base64")}` };
}

function hasAuthorization(header: Readonly<Record<string, string>>): boolean {
  return Object.keys(header).some((name) => name.toLowerCase() === "authorization");
}

/** PEM texts or DER blocks, as one PEM text. */
function decodeCertificates(chain: readonly Uint8Array[]): string | undefined {
  if (chain.length === 0) return undefined;
  return chain
    .map((certificate) => {
      const text = Buffer.from(certificate).toString("latin1");
      if (text.includes("-----BEGIN CERTIFICATE-----")) return text;
      try {
        return new X509Certificate(certificate).toString();
      } catch (error) {
        throw new DaemonError(
          "ERR_REQUEST",
          "Cannot read request: a certificate in it is neither PEM nor DER",
          { cause: error },
        );
      }
    })
    .join("\n");
}

function unsupported(reason: string): DaemonError {
  return new DaemonError("ERR_UNSUPPORTED", `Cannot ask the origin: ${reason}`);
}
