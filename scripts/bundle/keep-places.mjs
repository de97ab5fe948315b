import { dirname, relative, resolve, sep } from "node:path";

/**
 * Lets modules find what lies beside them: what they say relative to themselves (`import.meta.url`, `__dirname`) means the same in the bundle,
 * and what cannot be bundled is loaded from where it was found. A URL of a module that a program begins with is that of its bundled one.
 *
 * @param {object} options
 * @param {string} options.directory in which the program's files will be
 * @param {ReadonlyMap<string, string>} options.entries where modules that programs begin with will be, by where they are; paths
 * @param {(specifier: string) => boolean} options.isExternal
 * @returns {import("rolldown").Plugin}
 */
export function keepPlaces({ directory, entries, isExternal }) {
  /** Words of code for the URL of a file. `import.meta.url` is that of a file in `directory` there. */
  const urlOf = (path) =>
    `new URL(${JSON.stringify(relativeUrl(directory, path))}, import.meta.url)`;
  return {
    name: "keep-places",
    resolveId: {
      filter: { id: /^[^./\0]/ },
      async handler(specifier, importer, options) {
        if (importer === undefined || !isExternal(specifier)) return null;
        const found = await this.resolve(specifier, importer, { ...options, skipSelf: true });
        // What is optional and not there is missed when it is asked for.
        if (found === null || found.external) return { id: specifier, external: true };
        return { id: relativeUrl(directory, found.id), external: true };
      },
    },
    transform: {
      // The bundler's own module is no file.
      filter: { id: { exclude: /^\0/ }, code: /\bimport\.meta\.url\b|\b__dirname\b/ },
      handler(code, id) {
        if (!code.includes("import.meta.url"))
          return `var __dirname = BUNDLE + ${JSON.stringify(`/${relative(directory, dirname(id))}`)};${code}`;
        return code.replace(PLACES, (_, reference) => {
          if (reference === undefined) return `${urlOf(id)}.href`;
          const path = resolve(dirname(id), reference);
          return urlOf(entries.get(path) ?? path);
        });
      },
    },
    renderChunk(code) {
      return code.includes("BUNDLE +") ? `const BUNDLE = import.meta.dirname;\n${code}` : null;
    },
  };
}

/** `new URL("./worker.js", import.meta.url)`, over one line or more, and `import.meta.url` alone. */
const PLACES = /new URL\(\s*"(\.[^"]*)",\s*import\.meta\.url\s*,?\s*\)|\bimport\.meta\.url\b/g;

function relativeUrl(directory, path) {
  const words = relative(directory, path).split(sep).join("/");
  return words.startsWith(".") ? words : `./${words}`;
}
