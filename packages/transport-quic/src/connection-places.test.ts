import type { QuicConnection } from "@damselfly/quic";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { ConnectionPlaces } from "./connection-places.ts";

/** As much of a connection as has to do with places. */
class FakeConnection {
  readonly remoteAddress: { readonly ip: string; readonly port: number };
  isEarly = false;
  closedWith: string | undefined;
  readonly established: Promise<void>;
  readonly closed: Promise<void>;
  establish!: () => void;
  #end!: () => void;

  constructor(ip: string) {
    this.remoteAddress = { ip, port: 1 };
    this.established = new Promise((resolve) => (this.establish = resolve));
    this.closed = new Promise((resolve) => (this.#end = resolve));
  }

  close(_code: number, reason = ""): void {
    this.closedWith ??= reason;
    this.#end();
  }
}

let now = 0;
let places: ConnectionPlaces;

beforeEach(() => {
  now = 0;
  const limits = { connectionCountMax: 3, connectionsPerAddressMax: 2 };
  places = new ConnectionPlaces({ limits, now: () => now });
});

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- nothing else of it is used
const real = (fake: FakeConnection): QuicConnection => fake as unknown as QuicConnection;

async function connect(ip: string, options: { isEarly?: boolean } = {}): Promise<FakeConnection> {
  const connection = new FakeConnection(ip);
  connection.isEarly = options.isEarly ?? false;
  places.add(real(connection));
  await Promise.resolve();
  return connection;
}

const busy = (connection: FakeConnection): string | undefined => {
  const { busy: reason, end } = places.begin(real(connection));
  end();
  return reason;
};

describe("ConnectionPlaces", () => {
  it("gives a place to one too many by closing the one that has been idle for longest", async () => {
    const [first, second, third] = [
      await connect("::1"),
      await connect("10.0.0.2"),
      await connect("10.0.0.3"),
    ];
    now = 10;
    expect(busy(first)).toBeUndefined(); // was in use just now
    now = 5_000;
    const fourth = await connect("10.0.0.4");
    expect([first, second, third].map(({ closedWith }) => closedWith)).toEqual([
      undefined,
      "others need its place",
      undefined,
    ]);
    expect(busy(fourth)).toBeUndefined();
    expect(places.refusedCount).toBe(0);
  });

  it("says no where all others are in use, or were a moment ago, and closes it soon", async () => {
    vi.useFakeTimers();
    try {
      const ends = [];
      for (const ip of ["10.0.0.1", "10.0.0.2", "10.0.0.3"]) {
        ends.push(places.begin(real(await connect(ip))).end);
      }
      now = 60_000;
      ends[0]?.();
      const late = await connect("10.0.0.4");
      expect(busy(late)).toBe("there are too many connections");
      expect(late.closedWith).toBeUndefined();
      vi.advanceTimersByTime(2_000);
      expect(late.closedWith).toBe("there are too many connections");
      await late.closed;
      now += 1_000; // what the first was sent has arrived by now
      expect(busy(await connect("10.0.0.4"))).toBeUndefined();
      expect(places.refusedCount).toBe(1);
    } finally {
      vi.useRealTimers();
    }
  });

  it("gives nobody the place of one that is refused, or not let in yet, however long that has been idle", async () => {
    vi.useFakeTimers();
    try {
      // Of an early one a request has been answered already.
      const early = await connect("10.0.0.8", { isEarly: true });
      expect(busy(early)).toBeUndefined();
      for (const ip of ["10.0.0.1", "10.0.0.2", "10.0.0.3"]) {
        places.begin(real(await connect(ip)));
      }
      for (let count = 0; count < 50; count += 1) {
        now += 1_500; // it rests for longer than the answer needs, and is not closed yet
        expect(busy(await connect(`10.0.1.${count}`))).toBe("there are too many connections");
      }
      expect(early.closedWith).toBeUndefined();
      expect(places.refusedCount).toBe(50);
      now += 1_500;
      early.establish();
      await early.established;
      await Promise.resolve();
      expect(busy(early)).toBe("there are too many connections");
    } finally {
      vi.useRealTimers();
    }
  });

  it("holds an address to its share, and takes the place from one of its own", async () => {
    const other = await connect("10.0.0.9");
    now = 1;
    const [first, second] = [await connect("10.0.0.1"), await connect("10.0.0.1")];
    now = 5_000;
    const third = await connect("10.0.0.1");
    expect([other, first, second].map(({ closedWith }) => closedWith === undefined)).toEqual([
      true,
      false,
      true,
    ]);
    const ends = [second, third].map((each) => places.begin(real(each)).end);
    expect(busy(await connect("::ffff:10.0.0.1"))).toBe(
      "there are too many connections from this address",
    );
    for (const end of ends) end();
  });

  it("costs nobody a place before the handshake is over: its first flight may be a recorded one", async () => {
    const others = [
      await connect("10.0.0.1"),
      await connect("10.0.0.2"),
      await connect("10.0.0.3"),
    ];
    now = 5_000;
    const early = [];
    for (let count = 0; count < 100; count += 1) {
      early.push(await connect("10.0.0.4", { isEarly: true }));
    }
    expect(busy(early[0]!)).toBeUndefined();
    expect(others.every(({ closedWith }) => closedWith === undefined)).toBe(true);
    early[0]!.establish();
    await early[0]!.established;
    await Promise.resolve();
    expect(others.filter(({ closedWith }) => closedWith !== undefined)).toHaveLength(1);
  });
});
