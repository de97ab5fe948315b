/** Ends the version of a copy whose origin nobody checked: TLS errors were ignored on a user's word. */
const UNCHECKED_SUFFIX = "-unchecked";

/** The version under which such a copy is kept and announced: it never mixes with one that was read from a checked origin, here or at other peers. */
export function uncheckedVersion(contentVersion: string): string {
  return `${contentVersion}${UNCHECKED_SUFFIX}`;
}

/** The version as the origin gives it, whether or not the origin was checked. */
export function originVersion(contentVersion: string): string {
  return contentVersion.endsWith(UNCHECKED_SUFFIX)
    ? contentVersion.slice(0, -UNCHECKED_SUFFIX.length)
    : contentVersion;
}
