#!/usr/bin/env node
// A committed shim: package managers link a bin only if it exists before the build.
await import("../dist/main.js");
