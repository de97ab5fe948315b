import { describe, expect, it } from "vitest";
import { Choices, ChoiceWriter } from "./choices.ts";

describe("Choices", () => {
  it("reads what ChoiceWriter writes", () => {
    const bytes = new ChoiceWriter()
      .byte(3)
      .u16(1_000)
      .u32(4_000_000_000)
      .block(Buffer.from("block"))
      .rest(Buffer.from("rest"));
    const choices = new Choices(bytes);
    expect([choices.byte(), choices.u16(), choices.u32()]).toEqual([3, 1_000, 4_000_000_000]);
    expect(Buffer.from(choices.block()).toString()).toBe("block");
    expect(choices.isOver).toBe(false);
    expect(Buffer.from(choices.rest()).toString()).toBe("rest");
    expect(choices.isOver).toBe(true);
  });

  it("decides for 0 where the input has ended, and for the first of a list", () => {
    const choices = new Choices(new Uint8Array(0));
    expect([choices.byte(), choices.below(1_000), choices.u32()]).toEqual([0, 0, 0]);
    expect(choices.pick(["first", "second"])).toBe("first");
    expect(choices.block()).toHaveLength(0);
  });

  it("takes any byte for one of what there is to choose from", () => {
    for (let byte = 0; byte < 256; byte++) {
      expect(new Choices(Uint8Array.of(byte)).below(7)).toBe(byte % 7);
    }
  });
});
