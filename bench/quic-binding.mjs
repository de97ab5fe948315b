// What the native QUIC binding costs by itself, without sockets or an engine: both ends in one process, packets handed
// over in memory. This is the ceiling of `packages/quic`: no loop around the binding can be faster.
//
//   npm run build && node bench/quic-binding.mjs [--packet 1350,1472,8952,16383] [--mib 256]
//
// Prints microseconds a call of send and recv, and the MB/s that each side alone could reach with them.
import { randomBytes } from "node:crypto";
import { performance } from "node:perf_hooks";
import { parseArgs } from "node:util";
import { loadQuiche } from "@damselfly/quic";
import { createTestAuthority } from "@damselfly/rpc/testing";
import { describeMachine, formatMachine } from "./support/machine.mjs";

const MIB = 1024 * 1024;
const { values } = parseArgs({
  options: {
    packet: { type: "string", default: "1350,1472,8952,16383" },
    mib: { type: "string", default: "256" },
  },
});

const quiche = await loadQuiche();
const { caCert, cert, key } = await (await createTestAuthority()).issue();
console.log(formatMachine(describeMachine()));
for (const packet of values.packet.split(",")) {
  const pair = connect(Number(packet));
  measure(pair, 8 * MIB, Number(packet)); // compiled, windows open
  const cost = measure(pair, Number(values.mib) * MIB, Number(packet));
  const side = (us) => `${us.toFixed(1)} us, ${(Number(packet) / us).toFixed(0)} MB/s at most`;
  console.log(
    `packet ${packet}: send ${side(cost.send)} | recv ${side(cost.receive)} | ` +
      `stream write ${cost.write.toFixed(2)} and read ${cost.read.toFixed(2)} CPU s/GB`,
  );
}

function connect(packetLength) {
  const pem = (text) => Buffer.from(text);
  const config = quiche.Config.withBoringSslCtx(
    true,
    false,
    pem(caCert),
    [pem(key)],
    [pem(cert)],
    null,
  );
  config.setApplicationProtos(["bench"]);
  config.setCcAlgorithmName("cubic");
  config.enablePacing(false);
  config.setMaxIdleTimeout(30_000);
  config.setMaxRecvUdpPayloadSize(65_527);
  config.setMaxSendUdpPayloadSize(packetLength);
  config.setInitialMaxData(Number.MAX_SAFE_INTEGER);
  config.setInitialMaxStreamDataBidiLocal(2 ** 40);
  config.setInitialMaxStreamDataBidiRemote(2 ** 40);
  config.setMaxStreamWindow(2 ** 40);
  config.setInitialMaxStreamsBidi(1000);
  const [client, server] = [1, 2].map((port) => ({ host: "127.0.0.1", port }));
  const out = Buffer.alloc(packetLength);
  const dialler = quiche.Connection.connect("d7y", randomBytes(16), client, server, config);
  const accepter = quiche.Connection.accept(randomBytes(16), null, server, client, config);
  const pair = {
    packets: Array.from({ length: 4096 }, () => Buffer.alloc(packetLength)),
    dialler: { native: dialler, info: { from: server, to: client } },
    accepter: { native: accepter, info: { from: client, to: server } },
  };
  for (let flight = 0; flight < 10; flight++) {
    for (const [from, to] of [
      [pair.dialler, pair.accepter],
      [pair.accepter, pair.dialler],
    ]) {
      for (let sent; (sent = from.native.send(out)) !== null;)
        to.native.recv(out.subarray(0, sent[0]), to.info);
    }
  }
  if (!dialler.isEstablished()) throw new Error("The two ends did not connect");
  dialler.streamSend(0, Buffer.from("go"), false);
  return pair;
}

/** One stream, the accepting side sends `total` bytes on it. */
function measure({ packets, dialler, accepter }, total, packetLength) {
  const chunk = Buffer.alloc(256 * 1024, 7);
  const into = Buffer.alloc(MIB);
  const spent = { send: 0, receive: 0, write: 0, read: 0 };
  let sentCount = 0;
  let written = 0;
  let received = 0;
  let mark;
  const lap = (name) => {
    const now = performance.now();
    spent[name] += now - mark;
    mark = now;
  };
  const out = Buffer.alloc(packetLength);
  for (let sent; (sent = dialler.native.send(out)) !== null;)
    accepter.native.recv(out.subarray(0, sent[0]), accepter.info);
  while (received < total) {
    mark = performance.now();
    if (written < total) written += accepter.native.streamSend(0, chunk, false) ?? 0;
    lap("write");
    let count = 0;
    const lengths = [];
    for (let sent; count < packets.length; count++) {
      if ((sent = accepter.native.send(packets[count])) === null) break;
      lengths.push(sent[0]);
    }
    lap("send");
    for (let index = 0; index < count; index++)
      dialler.native.recv(packets[index].subarray(0, lengths[index]), dialler.info);
    lap("receive");
    for (let read; (read = dialler.native.streamRecv(0, into)) !== null;) received += read[0];
    lap("read");
    sentCount += count;
    for (let sent; (sent = dialler.native.send(out)) !== null;)
      accepter.native.recv(out.subarray(0, sent[0]), accepter.info);
    if (count === 0) for (const { native } of [dialler, accepter]) native.onTimeout();
  }
  const gb = total / 1e9;
  return {
    send: (spent.send * 1000) / sentCount,
    receive: (spent.receive * 1000) / sentCount,
    write: spent.write / 1000 / gb,
    read: spent.read / 1000 / gb,
  };
}
