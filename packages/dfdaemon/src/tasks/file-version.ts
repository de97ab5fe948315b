/** Ends the version of a copy whose origin nobody checked: TLS errors were ignored on a user's word. */
const UNCHECKED_SUFFIX = "-unchecked";

/** The version under which such a copy is kept and announced: it never mixes with one that was read from a checked origin, here or at other peers. */
export function uncheckedVersion(contentVersion: string): string {
  return `${contentVersion}${UNCHECKED_SUFFIX}`;
}

/** Whether this is the version of such a copy. */
export function isUncheckedVersion(contentVersion: string): boolean {
  return contentVersion.endsWith(UNCHECKED_SUFFIX);
}

/** Ends, before the one above, the version of a copy whose task id is no hash of its URL: the caller has chosen it. */
const NAMED_SUFFIX = "-named";

/** The version under which such a copy is kept and announced, for the same reason: whoever asks for the URL of that id wants other bytes. */
export function namedVersion(contentVersion: string): string {
  return `${contentVersion}${NAMED_SUFFIX}`;
}

/** Whether this is the version of such a copy. */
export function isNamedVersion(contentVersion: string): boolean {
  const named = isUncheckedVersion(contentVersion)
    ? contentVersion.slice(0, -UNCHECKED_SUFFIX.length)
    : contentVersion;
  return named.endsWith(NAMED_SUFFIX);
}

/** The version as the origin gives it, whether or not the origin was checked, and whatever the copy is called. */
export function originVersion(contentVersion: string): string {
  return [UNCHECKED_SUFFIX, NAMED_SUFFIX].reduce(
    (version, suffix) => (version.endsWith(suffix) ? version.slice(0, -suffix.length) : version),
    contentVersion,
  );
}
