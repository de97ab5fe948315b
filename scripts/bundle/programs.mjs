/**
 * What is bundled: by program, the modules that a process of it begins with, by the name they get. A program is a graph of its own, so that
 * nothing is in a process twice, and a process reads only what it may need.
 */
export const PROGRAMS = {
  dfdaemon: { main: "packages/dfdaemon/dist/main.js" },
  "data-plane": {
    main: "packages/dfdaemon/dist/data-plane/processes/worker/main.js",
    "orphan-watch": "packages/dfdaemon/dist/data-plane/processes/worker/orphan-watch.js",
  },
  dfget: { main: "packages/dfget/dist/main.js" },
  dfscheduler: { main: "packages/scheduler/dist/main.js" },
};
