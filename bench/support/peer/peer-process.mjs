// One side of a measurement, as a process of its own: what peer.mjs starts. Each message names a method and brings its arguments; the
// answer brings the result, or what went wrong.
import { clientMethods } from "./client-methods.mjs";
import { serverMethods } from "./server-methods.mjs";
import { takeUsage } from "./usage.mjs";

const methods = {
  ...serverMethods,
  ...clientMethods,
  usage: async (options) => takeUsage(options),
};

process.on("message", ({ id, method, options }) => {
  methods[method](options).then(
    (result) => process.send?.({ id, result }),
    (error) => process.send?.({ id, failure: error.stack ?? String(error) }),
  );
});
// Whoever started us is gone, or done with us.
process.on("disconnect", () => process.exit());
// Ctrl-C reaches everybody in the terminal; the one who started us says when it is over.
process.on("SIGINT", () => {});
