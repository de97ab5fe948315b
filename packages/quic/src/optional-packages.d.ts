// Optional: they may not be installed, and the build must pass without; what they are is checked once they are loaded.
declare module "@matrixai/quic/native/quiche.js";
declare module "koffi";
