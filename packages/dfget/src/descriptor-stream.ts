import { write } from "node:fs";
import { Socket } from "node:net";
import { Writable } from "node:stream";

/**
 * Standard output as it is where it is a terminal, a pipe or a socket. Where it is a file Node takes a write that found room for a part of
 * its bytes for a whole one (SyncWriteStream), so that on a full disk it would be cut short without an error.
 *
 * Which of them it is, Node has found out: with `fstatSync` of Node 20.20 it loads no more modules by their real paths afterwards.
 */
export function standardOutput<Stream extends Writable & { readonly fd: number }>(
  stream: Stream,
): Stream | Writable {
  return stream instanceof Socket ? stream : createDescriptorStream(stream.fd);
}

/** Writes every byte to a descriptor where that stands, or fails. The descriptor is left open. */
export function createDescriptorStream(fd: number): Writable {
  const writeRest = (bytes: Uint8Array, done: (error?: Error | null) => void): void => {
    write(fd, bytes, 0, bytes.byteLength, null, (error, writtenLength) => {
      if (error !== null || writtenLength === bytes.byteLength) done(error);
      else writeRest(bytes.subarray(writtenLength), done);
    });
  };
  return new Writable({
    write: (bytes: Uint8Array, _encoding, done) => {
      if (bytes.byteLength === 0) done();
      else writeRest(bytes, done);
    },
  });
}
