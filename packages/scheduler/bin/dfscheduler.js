#!/usr/bin/env node
// A committed shim: package managers link a bin only if it exists before the build.
// oxlint-disable-next-line import/no-unassigned-import -- running it is the point
import "../dist/main.js";
