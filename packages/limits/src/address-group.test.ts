import { describe, expect, it } from "vitest";
import { toAddressGroup } from "./address-group.ts";

describe("toAddressGroup", () => {
  it.each([
    ["10.0.0.1", "10.0.0.1"],
    ["::ffff:10.0.0.1", "10.0.0.1"],
    ["::1", "0:0:0:0"],
    ["::", "0:0:0:0"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
    ["2001:DB8:1:2::6", "2001:db8:1:2"],
    ["2001:db8::6", "2001:db8:0:0"],
    ["2001:db8::", "2001:db8:0:0"],
    ["fe80::1%eth0", "fe80:0:0:0"],
    ["64:ff9b:1::10.0.0.1", "64:ff9b:1:0"],
  ])("puts %s with %s", (ip, group) => {
    expect(toAddressGroup(ip)).toBe(group);
  });
});
