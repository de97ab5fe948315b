import { expect, it } from "vitest";
import type { NativeConnectionStats } from "./binding.ts";
import { createTraffic, TrafficMeter } from "./traffic-meter.ts";

it("TrafficMeter counts on where the native counters begin anew", () => {
  let udpRxBytes = 0;
  const zeros = { udpTxDatagrams: 0, udpTxBytes: 0, udpTxIos: 0, udpRxDatagrams: 0, udpRxIos: 0 };
  const path = {
    pathRtt: 1,
    pathCwnd: 2,
    pathLostPackets: 0,
    pathLostBytes: 0,
    pathSentPackets: 0,
  };
  const stats = (): NativeConnectionStats => ({ ...zeros, ...path, udpRxBytes });
  const total = createTraffic();
  const meter = new TrafficMeter({ stats }, total);
  for (let round = 1; round <= 20; round++) {
    udpRxBytes = (round * 1_000_000_000) >>> 0;
    meter.moved(1_000_000_000); // enough to make it look
  }
  expect(total.receivedBytes).toBe(20_000_000_000);
  expect(meter.sample().traffic.receivedBytes).toBe(20_000_000_000);
});
