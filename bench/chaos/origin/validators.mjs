// What the origin says of a version of a file, and which version that was.

/** Versions are this far apart in time, so that Last-Modified, in whole seconds, tells them apart. */
const VERSION_MS = 60_000;
const FIRST_MS = Date.UTC(2024, 0, 1);

/** @param {{ name: string, validators: "both" | "etag" | "last-modified" | "none" }} file */
export function validatorsOf({ name, validators }, version) {
  const etag = { etag: `"${name}-v${version}"` };
  const modified = { "last-modified": new Date(FIRST_MS + version * VERSION_MS).toUTCString() };
  switch (validators) {
    case "both":
      return { ...etag, ...modified };
    case "etag":
      return etag;
    case "last-modified":
      return modified;
    case "none":
      return {};
    default:
      throw new TypeError(`no validators are called ${String(validators)}`);
  }
}

/** @returns the number of the version that had these; undefined: they do not tell */
export function versionOf({ etag, lastModified }) {
  const named = /-v(\d+)"$/.exec(etag)?.[1];
  if (named !== undefined) return Number(named);
  const atMs = Date.parse(lastModified);
  return Number.isNaN(atMs) ? undefined : (atMs - FIRST_MS) / VERSION_MS;
}
