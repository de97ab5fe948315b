import { arch, endianness, platform } from "node:os";

/** The few calls of the C library that Node has no words for. They answer as in their manual pages unless it says otherwise. */
export interface Libc {
  setsockopt(fd: number, level: number, name: number, value: Uint8Array, length: number): number;
  sendmsg(fd: number, message: Uint8Array, flags: number): number;
  /** With no time limit. */
  recvmmsg(fd: number, messages: Uint8Array, count: number, flags: number): number;
  inetPton(family: number, text: string, into: Uint8Array): number;
  /** The text of an IPv6 address. */
  inetNtop(literal: Uint8Array): string;
  /** Of the last call that failed. */
  errno(): number;
  /** Where the bytes are in memory; good as long as their `ArrayBuffer` is held, which does not move. */
  address(bytes: Uint8Array): bigint;
}

/** The part of koffi used here; it is optional, and a build must pass without it. */
interface Koffi {
  load(library: null): { func(prototype: string): (...values: unknown[]) => number };
  errno(): number;
  address(bytes: Uint8Array): bigint;
}

/** Where `msghdr` and its companions are laid out as `SegmentedMessage` writes them. */
const ARCHITECTURES: readonly string[] = ["x64", "arm64", "riscv64", "loong64"];

const AF_INET6 = 10;
/** Room for the longest text of an IPv6 address and its end. */
const INET6_ADDRSTRLEN = 46;

let loading: Promise<Libc> | undefined;

/**
 * Loads koffi and with it the C library that this process runs on, once a process.
 *
 * @throws {Error} where koffi is not installed or does not load, and anywhere but on 64-bit Linux
 */
export function loadLibc(): Promise<Libc> {
  loading ??= load();
  return loading;
}

async function load(): Promise<Libc> {
  if (platform() !== "linux" || endianness() !== "LE" || !ARCHITECTURES.includes(arch())) {
    throw new Error(`Cannot use UDP offloads: this is ${platform()}-${arch()}, not 64-bit Linux`);
  }
  const loaded: unknown = await import("koffi");
  if (!hasKoffi(loaded)) throw new Error("Cannot use UDP offloads: what is called koffi is not");
  const koffi = loaded.default;
  const library = koffi.load(null); // what the process has loaded already, be it glibc or musl
  const recvmmsg = library.func(
    "int recvmmsg(int fd, void *messages, unsigned int count, int flags, void *timeout)",
  );
  const inetNtop = library.func(
    "void *inet_ntop(int family, void *literal, void *into, uint32_t length)",
  );
  return {
    setsockopt: library.func(
      "int setsockopt(int fd, int level, int name, void *value, uint32_t length)",
    ),
    sendmsg: library.func("int64_t sendmsg(int fd, void *message, int flags)"),
    recvmmsg: (fd, messages, count, flags) => recvmmsg(fd, messages, count, flags, null),
    inetNtop(literal) {
      const text = Buffer.alloc(INET6_ADDRSTRLEN);
      inetNtop(AF_INET6, literal, text, text.byteLength);
      return text.toString("latin1", 0, text.indexOf(0));
    },
    inetPton: library.func("int inet_pton(int family, str text, void *into)"),
    errno: () => koffi.errno(),
    address: (bytes) => koffi.address(bytes),
  };
}

function hasKoffi(loaded: unknown): loaded is { readonly default: Koffi } {
  if (typeof loaded !== "object" || loaded === null || !("default" in loaded)) return false;
  const { default: koffi } = loaded;
  return (
    typeof koffi === "object" &&
    koffi !== null &&
    "load" in koffi &&
    "errno" in koffi &&
    "address" in koffi
  );
}
