import { createRequire } from "node:module";

/**
 * What has the C library give back the pages that hold nothing any more. glibc does so by itself only at the end of its heap: whatever is
 * still in use above holds all that was freed below. Undefined where there is no such call, as with musl, or no way to it.
 */
export function loadTrim(): (() => void) | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    const koffi: unknown = createRequire(import.meta.url)("koffi");
    // What the process has loaded already. It fails where that has no such call.
    const library: unknown = call(koffi, "load", null);
    const trim: unknown = call(library, "func", "int malloc_trim(size_t pad)");
    return typeof trim === "function" ? () => void Reflect.apply(trim, undefined, [0]) : undefined;
  } catch {
    return undefined; // koffi is optional: then memory stays where it is, for the next busy moment.
  }
}

function call(target: unknown, name: string, value: unknown): unknown {
  const method: unknown = Object(target)[name];
  if (typeof method !== "function") throw new TypeError(`Cannot call ${name}: there is none`);
  return Reflect.apply(method, target, [value]);
}
