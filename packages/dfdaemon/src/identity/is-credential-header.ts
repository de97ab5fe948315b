/**
 * Whether a header of this name may say who is asking: `authorization`, `cookie`, `x-amz-security-token`, `private-token`, `x-api-key` …
 * Too wide on purpose: what is withheld from another host can at worst be missed there, and a copy that was fetched with it costs
 * whoever comes without it one more question to the origin. Too narrow, it gives secrets and files away.
 */
export function isCredentialHeader(name: string): boolean {
  return CREDENTIAL_NAME.test(name);
}

const CREDENTIAL_NAME =
  /auth|cookie|token|secret|passw|credential|session|signature|api|key|jwt|private/i;
