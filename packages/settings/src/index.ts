export { SettingsError, type SettingsErrorCode } from "./errors.ts";
export { loadTlsIdentity, type TlsIdentityOptions, type TlsPaths } from "./load-tls-identity.ts";
