#!/usr/bin/env node
// A committed shim: package managers link a bin only if it exists before the build.
import { locateProgram } from "../../../scripts/bundle/locate-program.mjs";

await import(locateProgram("dfget"));
