import type {
  OpenPieceOptions,
  PieceReader,
  PieceRequest,
  PieceSource,
} from "@damselfly/transport";
import { countBytes } from "../count-bytes.ts";
import type { TrafficMeter } from "../host/traffic-meter.ts";
import type { Metrics } from "./metrics.ts";

/** The same pieces; what is read of them counts as served. */
export class MeteredSource implements PieceSource {
  readonly #source: PieceSource;
  readonly #meter: TrafficMeter;
  readonly #metrics: Metrics;

  constructor(
    source: PieceSource,
    sinks: { readonly meter: TrafficMeter; readonly metrics: Metrics },
  ) {
    this.#source = source;
    this.#meter = sinks.meter;
    this.#metrics = sinks.metrics;
  }

  async openPiece(request: PieceRequest, options?: OpenPieceOptions): Promise<PieceReader> {
    const reader = await this.#source.openPiece(request, options);
    const [meter, metrics] = [this.#meter, this.#metrics];
    metrics.pieceUploadStarted();
    let served = 0;
    let open = true;
    return {
      piece: reader.piece,
      content: countBytes(reader.content, (length) => {
        served += length;
        meter.sent(length);
      }),
      async [Symbol.asyncDispose]() {
        if (open) metrics.pieceUploadEnded(served);
        open = false;
        await reader[Symbol.asyncDispose]();
      },
    };
  }
}
