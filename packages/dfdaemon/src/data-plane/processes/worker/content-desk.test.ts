import { expect, it } from "vitest";
import { ContentDesk } from "./content-desk.ts";

it("says of a supplier that is named for a piece it does not have that nobody asks it", () => {
  const told: unknown[] = [];
  const link = {
    note: (name: string, params: object) => void told.push([name, params]),
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- nothing else is used for a piece that is not there
  const parts = { link } as unknown as ConstructorParameters<typeof ContentDesk>[0];
  const address = { hostId: "b", ip: "192.0.2.1", ports: {} };
  new ContentDesk(parts).hedge({ content: 7, supplier: { id: 3, kind: "parent", address } });
  expect(told).toEqual([["passedOver", { content: 7, supplier: 3 }]]);
});
