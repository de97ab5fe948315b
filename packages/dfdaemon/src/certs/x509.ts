/** The X.509 library, loaded when first asked for: a daemon with its certificates in place never needs it. */
export async function loadX509(): Promise<typeof import("@peculiar/x509")> {
  // Before the library: its own dependency injection refuses to load without it.
  await import("reflect-metadata");
  return await import("@peculiar/x509");
}
