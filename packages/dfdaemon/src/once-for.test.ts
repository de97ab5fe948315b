import { expect, it } from "vitest";
import { onceFor } from "./once-for.ts";

it("computes once for each object, whatever the value is", () => {
  const asked: object[] = [];
  const isNamed = onceFor((key: { readonly name?: string }) => {
    asked.push(key);
    return key.name;
  });
  const [one, other] = [{ name: "one" }, {}];
  expect([isNamed(one), isNamed(other), isNamed(one), isNamed(other)]).toEqual([
    "one",
    undefined,
    "one",
    undefined,
  ]);
  expect(asked).toEqual([one, other]);
});
