export {
  duration,
  formatDuration,
  parseDuration,
  TIMER_MS_MAX,
  timerDuration,
} from "./duration.ts";
export { SettingsError, type SettingsErrorCode } from "./errors.ts";
export { knownSettings, settingPaths, valuesOf, type KnownSetting } from "./known-settings.ts";
export { loadSettings, type LoadedSettings, type LoadSettingsOptions } from "./load-settings.ts";
export {
  type CertificateUse,
  loadTlsIdentity,
  type TlsIdentityOptions,
  type TlsPaths,
} from "./load-tls-identity.ts";
export {
  type CertificateInUse,
  openTlsFiles,
  type TlsFiles,
  type TlsFilesLogger,
  type TlsFilesOptions,
  type TlsSection,
} from "./tls-files.ts";
export { formatRevocation, parseRevocationList, REVOCATION_LIST_HEAD } from "./revocation-list.ts";
export { formatSpan } from "./certificate-expiry.ts";
export { nearestName } from "./nearest-name.ts";
export { formatVariable } from "./read-environment.ts";
export type { FlagSetting } from "./read-flags.ts";
export { formatSource, type SettingSource } from "./setting-source.ts";
export { parseSize, size } from "./size.ts";
export {
  LOG_FILE_LENGTH_DEFAULT,
  LOG_FILES_DEFAULT,
  type LogOptions,
  openLog,
} from "./open-log.ts";
export { openStderr, type TextWriter } from "./open-stderr.ts";
