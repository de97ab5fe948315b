/** Where Dragonfly keeps it too. */
export const DEFAULT_CONFIG_PATH = "/etc/dragonfly/dfdaemon.yaml";
/** Where Dragonfly's daemon looks for schedulers when it has no manager. */
export const DEFAULT_DYNCONFIG_PATH = "/etc/dragonfly/dynconfig.yaml";
