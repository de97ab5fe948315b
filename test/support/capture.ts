import { writeFile } from "node:fs/promises";

/** Where a datagram or a piece of a TCP stream was sent from and to, all on one machine. */
export interface CaptureWay {
  readonly fromPort: number;
  readonly toPort: number;
}

/**
 * A capture as packet analysers read it (libpcap's format): what passes is written down with headers made up for it, for
 * who captures real packets needs rights that a test does not have.
 */
export class Capture {
  readonly #packets: Buffer[] = [];
  /** Bytes sent so far on a TCP stream, by its way. */
  readonly #sent = new Map<string, number>();

  /** A TCP connection begins. */
  open({ fromPort, toPort }: CaptureWay): void {
    this.#addTcp({ fromPort, toPort }, Buffer.alloc(0), SYN);
    this.#addTcp({ fromPort: toPort, toPort: fromPort }, Buffer.alloc(0), SYN | ACK);
  }

  /** Bytes of a TCP connection, in the order in which they were sent; cut as a network would. */
  tcp(way: CaptureWay, bytes: Uint8Array, segmentLength = 1_400): void {
    for (let at = 0; at < bytes.byteLength; at += segmentLength)
      this.#addTcp(way, Buffer.from(bytes.subarray(at, at + segmentLength)), ACK | PSH);
  }

  udp({ fromPort, toPort }: CaptureWay, datagram: Uint8Array): void {
    const header = Buffer.alloc(8);
    header.writeUInt16BE(fromPort, 0);
    header.writeUInt16BE(toPort, 2);
    header.writeUInt16BE(8 + datagram.byteLength, 4);
    this.#addIp(17, Buffer.concat([header, datagram]));
  }

  async write(path: string): Promise<void> {
    const header = Buffer.alloc(24);
    header.writeUInt32LE(0xa1b2c3d4, 0);
    header.writeUInt16LE(2, 4);
    header.writeUInt16LE(4, 6);
    header.writeUInt32LE(262_144, 16);
    header.writeUInt32LE(LINKTYPE_RAW, 20);
    await writeFile(path, Buffer.concat([header, ...this.#packets]));
  }

  #addTcp(way: CaptureWay, bytes: Buffer, flags: number): void {
    const { fromPort, toPort } = way;
    const sent = this.#sent.get(`${fromPort} ${toPort}`) ?? 0;
    const received = this.#sent.get(`${toPort} ${fromPort}`) ?? 0;
    const header = Buffer.alloc(20);
    header.writeUInt16BE(fromPort, 0);
    header.writeUInt16BE(toPort, 2);
    header.writeUInt32BE(sent, 4);
    header.writeUInt32BE(received, 8);
    header[12] = 5 << 4;
    header[13] = flags;
    header.writeUInt16BE(65_535, 14);
    const isSyn = (flags & SYN) !== 0;
    this.#sent.set(`${fromPort} ${toPort}`, sent + bytes.byteLength + (isSyn ? 1 : 0));
    this.#addIp(6, Buffer.concat([header, bytes]));
  }

  #addIp(protocol: number, payload: Buffer): void {
    const header = Buffer.alloc(20);
    header[0] = 0x45;
    header.writeUInt16BE(20 + payload.byteLength, 2);
    header[8] = 64;
    header[9] = protocol;
    header.set([127, 0, 0, 1], 12);
    header.set([127, 0, 0, 1], 16);
    const packet = Buffer.concat([header, payload]);
    const record = Buffer.alloc(16);
    // One after the other, a millisecond apart.
    const count = this.#packets.length;
    record.writeUInt32LE(1_700_000_000 + Math.floor(count / 1_000), 0);
    record.writeUInt32LE((count % 1_000) * 1_000, 4);
    record.writeUInt32LE(packet.byteLength, 8);
    record.writeUInt32LE(packet.byteLength, 12);
    this.#packets.push(Buffer.concat([record, packet]));
  }
}

const LINKTYPE_RAW = 101;
const [SYN, PSH, ACK] = [0x02, 0x08, 0x10];
