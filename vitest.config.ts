import { configDefaults, defineConfig } from "vitest/config";

export default defineConfig({
  // Workspace packages are tested from their sources, without a build.
  ssr: { resolve: { conditions: ["source"] } },
  test: {
    include: ["packages/*/src/**/*.test.ts", "test/**/*.test.ts", "bench/**/*.test.mjs"],
    // Those run by npm run test:interop: they need Dragonfly's programs.
    exclude: [...configDefaults.exclude, "test/interop/**"],
    testTimeout: 30_000,
    hookTimeout: 30_000,
    // What is waited for comes; how soon is the machine's matter.
    expect: { poll: { timeout: 20_000 } },
    // Real sockets and processes on two cores: more workers only make each other late.
    maxWorkers: 2,
    coverage: {
      provider: "v8",
      include: ["packages/*/src/**/*.ts"],
      // The executables' entry points run only in child processes; what they call is covered.
      exclude: [
        "packages/*/src/**/main.ts",
        "packages/*/src/generated/**",
        "packages/*/src/**/*.test.ts",
      ],
      reporter: ["text-summary", "json-summary"],
      thresholds: { lines: 85 },
    },
  },
});
