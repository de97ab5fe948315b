import { isDeepStrictEqual } from "node:util";
import { QuicError } from "../errors.ts";
import type { QuicConnection, QuicEndpoint, QuicEndpointOptions, QuicStream } from "../quic.ts";
import { openQuicEndpoint } from "../quiche-endpoint.ts";
import { createQueue, LOOPBACK } from "./open-pair.ts";
import { pattern, readAll } from "./stream-bytes.ts";
import { type ConnectionFate, ModelError, type Side, StreamEnd, WayModel } from "./stream-model.ts";

/**
 * One step of a script. Numbers of connections and ways count what there is by then, over and over: every script
 * means something, also after steps have been taken out of it.
 */
export type Step =
  | { readonly do: "dial"; readonly side: Side }
  | { readonly do: "open"; readonly connection: number; readonly side: Side }
  | { readonly do: "write"; readonly way: number; readonly length: number }
  | { readonly do: "end"; readonly way: number; readonly length: number }
  | {
      readonly do: "read";
      readonly way: number;
      readonly length: number;
      readonly leastLength: number;
    }
  | { readonly do: "readAll"; readonly way: number; readonly length: number }
  | { readonly do: "reset"; readonly way: number; readonly code: number }
  | { readonly do: "stopReading"; readonly way: number; readonly code: number }
  | {
      readonly do: "close";
      readonly connection: number;
      readonly side: Side;
      readonly code: number;
    }
  /** Takes no new streams until the same step comes again. */
  | { readonly do: "deafen"; readonly connection: number; readonly side: Side }
  | { readonly do: "retain"; readonly connection: number; readonly side: Side }
  /** Lets the event loop turn a few times. */
  | { readonly do: "rest"; readonly turns: number };

export interface Script {
  /** Whether the network loses datagrams: then a close may be heard of by the idle timeout only. */
  readonly isLossy: boolean;
  readonly steps: readonly Step[];
  /** `settle` first brings everything to its end; the others end everything in the midst of what goes on. */
  readonly finish: "settle" | "close" | "dispose" | "abort";
}

/** How long anything may take before it counts as stuck, in milliseconds. */
const PATIENCE_MS = 20_000;
/** What is sent each way at the end, to show that nothing has been used up. */
const HONEST_LENGTH = 150_000;

/** @throws {ModelError} or whatever else goes wrong that should not */
export async function runScript(
  script: Script,
  options: Partial<QuicEndpointOptions>,
): Promise<void> {
  const before = heldCount();
  const run = await Run.open(options, script.isLossy);
  try {
    await run.play(script.steps);
    await run.finish(script.finish);
  } finally {
    await run.abort();
  }
  // What a script leaves behind keeps a process from ending.
  for (let look = 0; heldCount() > before; look++) {
    if (look > PATIENCE_MS) throw new ModelError("timers or sockets were left over");
    await turns(1);
  }
}

/** Timers and sockets that keep this process alive. */
function heldCount(): number {
  return process
    .getActiveResourcesInfo()
    .filter((resource) => resource === "Timeout" || resource === "UDPWrap").length;
}

interface ConnectionModel extends ConnectionFate {
  readonly name: string;
  readonly ends: readonly QuicConnection[];
  readonly streams: Map<number, { readonly opener: StreamEnd; readonly taker: StreamEnd }>;
  /** What takes the streams that come in at each side. */
  readonly takers: ((stream: QuicStream) => void)[];
}

class Run {
  readonly #endpoints: readonly QuicEndpoint[];
  readonly #arrivals: readonly (() => Promise<QuicConnection>)[];
  readonly #isLossy: boolean;
  readonly #connections: ConnectionModel[] = [];
  readonly #ways: WayModel[] = [];
  readonly #ends: StreamEnd[] = [];
  readonly #failures: unknown[] = [];
  /** Of each side: dials wait for each other, for the connections that come in are told apart by their order. */
  readonly #dials: Promise<void>[] = [Promise.resolve(), Promise.resolve()];

  readonly #over: Promise<undefined>;
  #finishDials!: () => void;
  #isOver = false;

  private constructor(
    endpoints: readonly QuicEndpoint[],
    arrivals: readonly (() => Promise<QuicConnection>)[],
    isLossy: boolean,
  ) {
    this.#endpoints = endpoints;
    this.#arrivals = arrivals;
    this.#isLossy = isLossy;
    this.#over = new Promise((resolve) => {
      this.#finishDials = () => resolve(undefined);
    });
  }

  static async open(options: Partial<QuicEndpointOptions>, isLossy: boolean): Promise<Run> {
    const queues = [createQueue<QuicConnection>(), createQueue<QuicConnection>()];
    const endpoints = await Promise.all(
      queues.map((queue) =>
        openQuicEndpoint({
          address: LOOPBACK,
          alpn: "test",
          tls: "insecure",
          ...options,
          accept: queue.push,
        }),
      ),
    );
    return new Run(
      endpoints,
      queues.map((queue) => queue.shift),
      isLossy,
    );
  }

  async play(steps: readonly Step[]): Promise<void> {
    this.#dial(0);
    await this.#within(Promise.all(this.#dials), "dialling");
    for (const step of steps) {
      this.#assertNoFailure();
      if (step.do === "rest") await turns(step.turns);
      else this.#take(step);
    }
  }

  #take(step: Exclude<Step, { do: "rest" }>): void {
    if (step.do === "dial") {
      this.#dial(step.side);
      return;
    }
    if ("way" in step) {
      const way = this.#ways[step.way % this.#ways.length];
      if (way !== undefined) this.#takeWayStep(step, way);
      return;
    }
    const connection = this.#connections[step.connection % this.#connections.length];
    if (connection === undefined) return;
    const end = connection.ends[step.side]!;
    switch (step.do) {
      case "open":
        this.#openStream(connection, step.side);
        break;
      case "close":
        if (end.isOpen) connection.closeCodes[step.side] = step.code;
        end.close(step.code);
        break;
      case "deafen":
        end.onStream = end.onStream === undefined ? connection.takers[step.side] : undefined;
        break;
      case "retain":
        end.retain();
        break;
      default:
        throw new ModelError(`Cannot do ${JSON.stringify(step satisfies never)}`);
    }
  }

  #takeWayStep(step: Extract<Step, { way: number }>, way: WayModel): void {
    switch (step.do) {
      case "write":
      case "end":
        way.writer.write((stream) => way.write(stream, step.length, step.do === "end"));
        break;
      case "read":
        way.reader.read((stream) => way.read(stream, step.length, step.leastLength));
        break;
      case "readAll":
        readToEnd(way, step.length);
        break;
      case "reset":
        way.writer.now((stream) => way.reset(stream, step.code));
        break;
      case "stopReading":
        way.reader.now((stream) => way.stopReading(stream, step.code));
        break;
      default:
        throw new ModelError(`Cannot do ${JSON.stringify(step satisfies never)}`);
    }
  }

  #dial(side: Side): void {
    const target = this.#endpoints[1 - side]!;
    this.#dials[side] = this.#dials[side]!.then(async () => {
      const dialled = await this.#endpoints[side]!.dial(target.address);
      // It may come in only now, or not any more.
      const accepted = await Promise.race([this.#arrivals[1 - side]!(), this.#over]);
      if (accepted === undefined) return;
      this.#connections.push(
        this.#modelConnection(side === 0 ? [dialled, accepted] : [accepted, dialled]),
      );
    }).catch((error: unknown) => {
      // The end of the script may come in the midst of a handshake.
      if (!this.#isOver) this.#failures.push(error);
    });
  }

  #modelConnection(ends: readonly QuicConnection[]): ConnectionModel {
    const connection: ConnectionModel = {
      name: `connection ${this.#connections.length}`,
      ends,
      streams: new Map(),
      closeCodes: [undefined, undefined],
      isGone: [false, false],
      isLossy: this.#isLossy,
      takers: ([0, 1] as const).map((side) => (stream: QuicStream) => {
        const known = connection.streams.get(stream.id);
        if (known === undefined || known.taker.side !== side) {
          this.#failures.push(new ModelError(`Stream ${stream.id} came, but nobody opened it`));
        } else {
          if (known.taker.arrive(stream)) this.#watchClosed(known.taker);
        }
      }),
    };
    for (const [index, end] of ends.entries()) end.onStream = connection.takers[index];
    return connection;
  }

  #openStream(connection: ConnectionModel, side: Side): void {
    const end = connection.ends[side]!;
    let stream: QuicStream;
    try {
      stream = end.openStream();
    } catch (error) {
      if (end.isOpen) this.#failures.push(error);
      return;
    }
    const onFailure = (error: unknown): void => void this.#failures.push(error);
    const name = `${connection.name} stream ${stream.id}`;
    const opener = new StreamEnd({ side, isOpener: true, name: `${name} opener`, onFailure });
    const peer: Side = side === 0 ? 1 : 0;
    const taker = new StreamEnd({ side: peer, isOpener: false, name: `${name} taker`, onFailure });
    const start = this.#ways.length * 7919;
    this.#ways.push(
      new WayModel({ writer: opener, reader: taker, fate: connection, start }),
      new WayModel({ writer: taker, reader: opener, fate: connection, start: start + 7919 }),
    );
    this.#ends.push(opener, taker);
    connection.streams.set(stream.id, { opener, taker });
    opener.arrive(stream);
    this.#watchClosed(opener);
  }

  /** Checks that `closed` says how the stream ended. */
  #watchClosed(end: StreamEnd): void {
    end.close((error) => this.#checkClosed(end, error));
  }

  #checkClosed(end: StreamEnd, error: Error | undefined): void {
    if (error !== undefined && !(error instanceof QuicError)) throw error;
    if (error !== undefined) return;
    // The calls that ended the two ways have settled too, but whoever waits for them runs a little later.
    setImmediate(() => {
      for (const way of [end.in, end.out]) {
        if (way?.canHaveEnded(end) === false) {
          this.#failures.push(new ModelError(`${end.name} closed well, but: ${way.toString()}`));
        }
      }
    });
  }

  async finish(kind: Script["finish"]): Promise<void> {
    if (kind === "settle") {
      await this.#settle();
      for (const connection of this.#connections) await this.#assertHealthy(connection);
    }
    this.#isOver = true;
    this.#finishDials();
    await this.#end(kind);
    await this.#within(Promise.all(this.#dials), "dials at the end");
    for (const end of this.#ends) end.giveUp();
    await this.#within(this.#allSettled(), "calls after the end");
    this.#assertNoFailure();
    for (const endpoint of this.#endpoints) {
      if (endpoint.connectionCount !== 0) throw new ModelError("a connection was left over");
    }
  }

  async #end(kind: Script["finish"]): Promise<void> {
    if (kind === "close") {
      for (const connection of this.#connections) {
        if (connection.ends[0]!.isOpen) connection.closeCodes[0] = 99;
        connection.ends[0]!.close(99);
      }
      await this.#within(this.#allClosed(), "connections closing");
    }
    for (const side of [0, 1] as const) {
      for (const { isGone } of this.#connections) isGone[side] = true;
      const endpoint = this.#endpoints[side]!;
      await this.#within(
        kind === "abort" ? endpoint.abort() : endpoint[Symbol.asyncDispose](),
        "an endpoint closing",
      );
    }
    await this.#within(this.#allClosed(), "connections ending");
  }

  #allClosed(): Promise<unknown> {
    return Promise.all(this.#connections.flatMap(({ ends }) => ends.map((end) => end.closed)));
  }

  async #allSettled(): Promise<void> {
    await Promise.all(this.#ends.map((end) => end.settled()));
  }

  /** Writes every end and reads up to it. */
  async #settle(): Promise<void> {
    await this.#within(Promise.all(this.#dials), "dials");
    for (const { ends, takers } of this.#connections) {
      for (const [index, end] of ends.entries()) end.onStream = takers[index];
    }
    for (const way of this.#ways) {
      way.writer.write(async (stream) => {
        if (!way.isWritingOver) await way.write(stream, 1, true);
      });
      readToEnd(way, 50_000);
    }
    for (const { streams, ends } of this.#connections) {
      for (const { opener, taker } of streams.values()) {
        // What the peer never hears of never comes; once both its ways are over nobody waits for it.
        void opener.settled().then(() => opener.out?.isAnnounced === true || taker.giveUp());
        for (const { closed } of ends) void closed.then(() => taker.giveUp());
      }
    }
    await this.#within(this.#allSettled(), "calls");
    this.#assertNoFailure();
  }

  /** After everything has ended an open connection holds nothing, and carries as much as a new one. */
  async #assertHealthy(connection: ConnectionModel): Promise<void> {
    if (!isOpen(connection)) return;
    for (const { opener, taker } of connection.streams.values()) {
      if (taker.hasArrived) for (const end of [opener, taker]) end.out?.assertSettled();
    }
    const [first, second] = connection.ends;
    await this.#within(exchange(first!, second!), "an honest exchange");
    await this.#within(exchange(second!, first!), "an honest exchange");
    const counts = (): object => connection.ends.map((end) => end.stats().streamCount);
    await this.#within(
      until(() => isDeepStrictEqual(counts(), [0, 0])),
      () => `forgetting the streams: ${JSON.stringify(counts())} left`,
    );
  }

  #assertNoFailure(): void {
    if (this.#failures.length > 0) throw this.#failures[0];
  }

  /** @throws {ModelError} if `work` is stuck */
  async #within<T>(work: Promise<T>, what: string | (() => string)): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const stuck = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const ways = [...this.#ways.map(String), ...this.#ends.map((end) => end.waiting)];
        const text = typeof what === "string" ? what : what();
        const [failure] = this.#failures;
        reject(new ModelError([`Stuck: ${text}`, ...ways].join("\n"), { cause: failure }));
      }, PATIENCE_MS);
    });
    try {
      return await Promise.race([work, stuck]);
    } finally {
      clearTimeout(timer);
    }
  }

  async abort(): Promise<void> {
    await Promise.all(this.#endpoints.map((endpoint) => endpoint.abort()));
  }
}

function isOpen(connection: ConnectionModel): boolean {
  return connection.ends.every((end) => end.isOpen);
}

function readToEnd(way: WayModel, length: number): void {
  way.reader.read(async (stream) => {
    while (await way.read(stream, length, 1));
  });
}

/** A request and its answer, each longer than any window. */
async function exchange(asker: QuicConnection, answerer: QuicConnection): Promise<void> {
  const content = pattern(HONEST_LENGTH);
  const { onStream } = answerer;
  const answered = new Promise<void>((resolve, reject) => {
    answerer.onStream = (stream) => {
      readAll(stream)
        .then((bytes) => stream.end(bytes))
        .then(resolve, reject);
    };
  });
  const stream = asker.openStream();
  const reading = readAll(stream);
  await stream.end(content);
  const answer = await reading;
  await answered;
  answerer.onStream = onStream;
  if (!answer.equals(content)) throw new ModelError("an honest exchange brought other bytes");
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}
