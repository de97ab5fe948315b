import { createHash } from "node:crypto";
import type { Header, Target } from "./request-header.ts";

/** A digest of a whole file as its origin gives it. */
export interface AnnouncedDigest {
  /** `<algorithm>:<value>`: sha256, sha512, sha1 or md5 in lower-case hex, crc32 as a decimal number. */
  readonly digest: string;
  /** Where it was found, for people: `Repr-Digest`, `the URL`. */
  readonly source: string;
}

/** An answer, and how it was come by. */
export interface AnnouncingAnswer {
  readonly method: "GET" | "HEAD";
  /** As asked for, before any redirect. */
  readonly url: URL;
  /** Headers of the redirects on the way, in order. */
  readonly redirects: readonly Header[];
  readonly statusCode: number;
  readonly responseHeader: Header;
  /** Of the whole file; undefined: not known. */
  readonly contentLength: number | undefined;
}

/**
 * What an answer says the digest of the file is, as far as it can be believed not to raise a false alarm: strongest first, one for each
 * algorithm. Each source counts only where its definition makes it a digest of the very bytes that a 200 to a GET would carry:
 *
 * | source | counts |
 * |---|---|
 * | the URL, `/v2/…/blobs/sha256:…` | content-addressed: whatever is found there has that digest, or is not what was asked for |
 * | `Docker-Content-Digest`, `ETag: "sha256:…"` | under such a URL, or that of a manifest |
 * | `Repr-Digest` (RFC 9530) | of the representation, so in a 206 and after HEAD, too, and of encoded content |
 * | `Content-Digest` (RFC 9530) | of what this answer carries: in a 200 to a GET only |
 * | `Digest` (RFC 3230), `Content-MD5` (RFC 1864) | in a 200: in a 206 servers disagree about what it is of |
 * | `x-amz-checksum-…` | in a 200, unless it is one of checksums of parts |
 * | `x-goog-hash` | where what is stored is what is sent |
 * | `X-Linked-ETag` (Hugging Face) | on a redirect, too, if it looks like SHA-256 and `X-Linked-Size` is right |
 *
 * Not among them are other ETags (that of S3 is an MD5 sometimes, which cannot be told from outside), CRC-32C and CRC-64. Of a redirect, or of
 * a 203, nothing else counts; of content with a coding only RFC 9530's fields, which are defined with codings in mind. An algorithm for which there are
 * two values is left out, unless the URL is one of them; so is the digest of nothing for a file that is not empty, since middleware hashes
 * what it sees of an answer to HEAD.
 */
export function announcedDigests(answer: AnnouncingAnswer): readonly AnnouncedDigest[] {
  const { statusCode, contentLength } = answer;
  if (statusCode !== 200 && statusCode !== 206) return [];
  const byUrl = isEncoded(answer) ? [] : fromUrl(answer);
  const said = [...fromRfc9530(answer), ...(isEncoded(answer) ? [] : fromOthers(answer))];
  return ALGORITHMS.flatMap(({ name }) => {
    const isOfThis = ({ digest }: AnnouncedDigest): boolean => digest.startsWith(`${name}:`);
    const candidates = byUrl.some(isOfThis) ? byUrl.filter(isOfThis) : said.filter(isOfThis);
    const [first, ...others] = candidates.filter(
      ({ digest }) => contentLength === 0 || digest !== DIGESTS_OF_NOTHING.get(name),
    );
    if (first === undefined || others.some(({ digest }) => digest !== first.digest)) return [];
    return [first];
  });
}

/**
 * Fields that ask for digests. For HEAD alone: whoever does not like them, or takes too long to compute what they ask for, is asked by GET
 * then, without. S3 refuses fields named `x-amz-…` that a signature does not cover.
 */
export function digestRequestHeader({ url, header }: Target): Header {
  const isSigned =
    "authorization" in header ||
    [...url.searchParams.keys()].some((name) => /^(x-amz-|awsaccesskeyid$|signature$)/i.test(name));
  return {
    "want-repr-digest": "sha-256=10, sha-512=5",
    ...(isSigned ? {} : { "x-amz-checksum-mode": "ENABLED" }),
  };
}

function isEncoded({ responseHeader }: AnnouncingAnswer): boolean {
  const coding = responseHeader["content-encoding"]?.trim().toLowerCase() ?? "";
  return coding !== "" && coding !== "identity";
}

const REGISTRY_PATH = /\/v2\/.+\/(?:blobs|manifests)\/[^/]+$/;
const ADDRESSED_PATH = /\/v2\/.+\/(?:blobs|manifests)\/(sha256|sha512):([0-9a-fA-F]+)$/;

function fromUrl({ url, responseHeader }: AnnouncingAnswer): AnnouncedDigest[] {
  const [, name, hex] = ADDRESSED_PATH.exec(decoded(url.pathname)) ?? [];
  // Of a manifest of the first schema the digest leaves the signatures out.
  if (isSignedManifest(responseHeader)) return [];
  return listIf(digestOfHex(name, hex), "the URL");
}

function fromRfc9530({ method, statusCode, responseHeader }: AnnouncingAnswer): AnnouncedDigest[] {
  const found = fromDictionary(responseHeader["repr-digest"], "Repr-Digest");
  if (method === "HEAD" || statusCode !== 200) return found;
  return [...found, ...fromDictionary(responseHeader["content-digest"], "Content-Digest")];
}

function fromOthers(answer: AnnouncingAnswer): AnnouncedDigest[] {
  const found = [...fromRegistry(answer), ...fromHub(answer), ...fromGoogle(answer)];
  if (answer.statusCode !== 200) return found;
  const { responseHeader } = answer;
  return [
    ...found,
    ...fromAmazon(responseHeader),
    ...fromInstanceDigest(responseHeader["digest"]),
    ...listIf(digestOfBase64("md5", responseHeader["content-md5"]), "Content-MD5"),
  ];
}

function fromRegistry({ url, responseHeader }: AnnouncingAnswer): AnnouncedDigest[] {
  if (!REGISTRY_PATH.test(decoded(url.pathname)) || isSignedManifest(responseHeader)) return [];
  const { "docker-content-digest": said = "", etag = "" } = responseHeader;
  const [, name, hex] = /^(sha256|sha512):([0-9a-fA-F]+)$/.exec(said.trim()) ?? [];
  const [, tagName, tagHex] = /^"(sha256|sha512):([0-9a-fA-F]+)"$/.exec(etag) ?? [];
  return [
    ...listIf(digestOfHex(name, hex), "Docker-Content-Digest"),
    ...listIf(digestOfHex(tagName, tagHex), "ETag"),
  ];
}

function fromHub({
  redirects,
  responseHeader,
  contentLength,
}: AnnouncingAnswer): AnnouncedDigest[] {
  return [...redirects, responseHeader].flatMap((header) => {
    const { "x-linked-etag": etag = "", "x-linked-size": size = "" } = header;
    if (contentLength === undefined || size.trim() !== String(contentLength)) return [];
    const [, hex] = /^"?([0-9a-fA-F]{64})"?$/.exec(etag.trim()) ?? [];
    return listIf(digestOfHex("sha256", hex), "X-Linked-ETag");
  });
}

function fromGoogle({ responseHeader, contentLength }: AnnouncingAnswer): AnnouncedDigest[] {
  const {
    "x-goog-hash": hashes = "",
    "x-goog-stored-content-encoding": coding,
    "x-goog-stored-content-length": length,
  } = responseHeader;
  if (coding !== "identity" || contentLength === undefined || length !== String(contentLength))
    return [];
  return membersOf(hashes).flatMap(([name, value]) =>
    name === "md5" ? listIf(digestOfBase64("md5", value), "x-goog-hash") : [],
  );
}

function fromAmazon(header: Header): AnnouncedDigest[] {
  if (header["x-amz-checksum-type"]?.trim().toUpperCase() === "COMPOSITE") return [];
  // One of parts has their number behind it, and is no base64 any more.
  return ["sha256", "sha1", "crc32"].flatMap((name) => {
    const field = `x-amz-checksum-${name}`;
    return listIf(digestOfBase64(name, header[field]), field);
  });
}

function fromInstanceDigest(value: string | undefined): AnnouncedDigest[] {
  return membersOf(value ?? "").flatMap(([name, text]) =>
    listIf(digestOfBase64(HTTP_NAMES.get(name), text), "Digest"),
  );
}

/** A dictionary of byte sequences (RFC 9651, sections 3.2 and 3.3.5); members of other kinds are passed over. */
function fromDictionary(value: string | undefined, source: string): AnnouncedDigest[] {
  return membersOf(value ?? "").flatMap(([name, text]) => {
    const [, base64] = /^:([^:]*):(?:;.*)?$/.exec(text) ?? [];
    return listIf(digestOfBase64(HTTP_NAMES.get(name), base64), source);
  });
}

/** `name=value` pairs behind commas, which no base64 has in it; names in lower case. */
function membersOf(value: string): (readonly [name: string, value: string])[] {
  return value.split(",").flatMap((member) => {
    const equals = member.indexOf("=");
    if (equals === -1) return [];
    return [[member.slice(0, equals).trim().toLowerCase(), member.slice(equals + 1).trim()]];
  });
}

function digestOfHex(name: string | undefined, hex: string | undefined): string | undefined {
  const algorithm = ALGORITHMS.find((each) => each.name === name);
  if (algorithm === undefined || hex?.length !== algorithm.length * 2) return undefined;
  return `${algorithm.name}:${hex.toLowerCase()}`;
}

function digestOfBase64(name: string | undefined, base64: string | undefined): string | undefined {
  const algorithm = ALGORITHMS.find((each) => each.name === name);
  const text = base64?.trim() ?? "";
  if (algorithm === undefined || !/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return undefined;
  const bytes = Buffer.from(text, "base64");
  if (bytes.byteLength !== algorithm.length) return undefined;
  if (algorithm.name === "crc32") return `crc32:${bytes.readUInt32BE()}`;
  return `${algorithm.name}:${bytes.toString("hex")}`;
}

function listIf(digest: string | undefined, source: string): AnnouncedDigest[] {
  return digest === undefined ? [] : [{ digest, source }];
}

function isSignedManifest({ "content-type": type = "" }: Header): boolean {
  return /application\/vnd\.docker\.distribution\.manifest\.v1\b/i.test(type);
}

/** Percent-decoded where it can be. */
function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/**
 * Those that can be computed here, with the lengths of their digests in bytes. SHA-256 goes before SHA-512: nobody can forge either, and
 * most processors compute it faster.
 */
const ALGORITHMS: readonly { readonly name: string; readonly length: number }[] = [
  { name: "sha256", length: 32 },
  { name: "sha512", length: 64 },
  { name: "sha1", length: 20 },
  { name: "md5", length: 16 },
  { name: "crc32", length: 4 },
];
const HTTP_NAMES: ReadonlyMap<string, string> = new Map([
  ["sha-256", "sha256"],
  ["sha-512", "sha512"],
  ["sha", "sha1"],
  ["md5", "md5"],
]);
const DIGESTS_OF_NOTHING: ReadonlyMap<string, string> = new Map([
  ...["sha256", "sha512", "sha1", "md5"].map(
    (name) => [name, `${name}:${createHash(name).digest("hex")}`] as const,
  ),
  ["crc32", "crc32:0"],
]);
