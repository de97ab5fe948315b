/** Of all packages: they are released together. */
export const VERSION: string = "0.1.0";
