import { describe, expect, it } from "vitest";
import { TlsStore, toTlsSource } from "./tls-source.ts";

const FIRST = { caCert: "ca", cert: "cert", key: "key" };

describe("TlsStore", () => {
  it("tells everybody of a change, after which the new identity is the current one", () => {
    const store = new TlsStore(FIRST);
    const seen: string[] = [];
    store.onChange(() => seen.push(`one ${store.current.cert}`));
    store.onChange(() => seen.push(`two ${store.current.cert}`));
    expect(store.update({ ...FIRST, cert: "other" })).toBe(true);
    expect(seen).toEqual(["one other", "two other"]);
  });

  it("says nothing where nothing has changed, whatever the order of the revoked", () => {
    const store = new TlsStore({ ...FIRST, revoked: ["1", "2"] });
    store.onChange(() => expect.unreachable("nothing has changed"));
    expect(store.update({ ...FIRST, revoked: ["2", "1"] })).toBe(false);
    expect(new TlsStore(FIRST).update({ ...FIRST, revoked: [] })).toBe(false);
  });

  it.each([
    [{ caCert: "other" }],
    [{ cert: "other" }],
    [{ key: "other" }],
    [{ revoked: ["1"] }],
    [{ revoked: ["1", "3"] }],
    [{ revoked: [] }],
  ])("takes %j for a change", (change) => {
    const first = { ...FIRST, revoked: ["1", "2"] };
    expect(new TlsStore(first).update({ ...first, ...change })).toBe(true);
  });

  it("tells everybody though one of them fails, and throws what that one throws", () => {
    const store = new TlsStore(FIRST);
    let count = 0;
    const failure = new Error("cannot be used");
    store.onChange(() => void count++);
    store.onChange(() => {
      throw failure;
    });
    store.onChange(() => void count++);
    expect(() => store.update({ ...FIRST, key: "other" })).toThrow(failure);
    expect([count, store.current.key]).toEqual([2, "other"]);
  });

  it("does not tell who has stopped listening, once for each time that it listened", () => {
    const store = new TlsStore(FIRST);
    let count = 0;
    const listener = (): void => void count++;
    const stop = store.onChange(listener);
    store.onChange(listener);
    stop();
    stop();
    store.update({ ...FIRST, key: "other" });
    expect(count).toBe(1);
  });
});

describe("toTlsSource", () => {
  it("makes a source of an identity, and leaves one as it is", () => {
    expect(toTlsSource(FIRST).current).toBe(FIRST);
    const store = new TlsStore(FIRST);
    expect(toTlsSource(store)).toBe(store);
  });
});
