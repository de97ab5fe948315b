import process from "node:process";

process.exitCode = 0;
