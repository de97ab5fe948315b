import { loadService, type AnnouncePeerResponse, type Peer } from "@damselfly/rpc";
import { describe, expect, it } from "vitest";
import { decodeScheduleEvent } from "./peer-messages.ts";

const method = loadService("scheduler.v2.Scheduler").methods.get("announcePeer")!;

/** How many of these parents are looked at; as the answer comes from the network. */
function parentsOf(candidateParents: readonly Peer[]): number {
  const response: AnnouncePeerResponse = {
    normalTaskResponse: { candidateParents: [...candidateParents] },
  };
  const event = decodeScheduleEvent(method.responseDeserialize(method.responseSerialize(response)));
  return event?.kind === "parents" ? event.parents.length : -1;
}

const candidate = (names: { id?: string; hostId?: string; hostname?: string } = {}): Peer => {
  const { id = "peer", hostId = "host", hostname = "name" } = names;
  return { id, host: { id: hostId, hostname, ip: "10.0.0.1", port: 4000 } };
};

describe("the parents that a scheduler names", () => {
  it.each([
    [64, 64],
    [65, 64],
    [20_000, 64],
  ])("are looked at up to a number: of %i, %i", (namedCount, count) => {
    expect(parentsOf(Array.from({ length: namedCount }, () => candidate()))).toBe(count);
  });

  it.each(["id", "hostId", "hostname"])("are passed over when their %s is too long", (name) => {
    const named = (length: number): Peer => candidate({ [name]: "n".repeat(length) });
    expect(parentsOf([named(1_024)])).toBe(1);
    expect(parentsOf([named(1_025), candidate(), named(1_000_000)])).toBe(1);
    expect(parentsOf([named(0)])).toBe(0);
  });
});
