import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findSocketOwner, type AccountSources } from "./socket-owner.ts";

let directory = "";
let sources: AccountSources;
const asked: string[] = [];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "accounts-"));
  sources = {
    passwdPath: join(directory, "passwd"),
    groupPath: join(directory, "group"),
    ask: async (database, name) => {
      asked.push(`${database} ${name}`);
      return name === "remote" ? "remote:x:70000:70001::/:/bin/sh" : undefined;
    },
  };
  await writeFile(
    sources.passwdPath,
    "root:x:0:0::/root:/bin/sh\ndragon:x:101:102::/:/bin/false\n",
  );
  await writeFile(sources.groupPath, "root:x:0:\ndragons:x:202:dragon\nodd:x:many:\n");
});
afterAll(() => rm(directory, { recursive: true }));

const find = (socketOwner: string, socketGroup = ""): ReturnType<typeof findSocketOwner> =>
  findSocketOwner({ socketOwner, socketGroup }, sources);

describe("findSocketOwner", () => {
  it("takes names and numbers, and leaves out what is not given", async () => {
    expect(await find("dragon", "dragons")).toEqual({ uid: 101, gid: 202 });
    expect(await find("0", "4294967294")).toEqual({ uid: 0, gid: 4_294_967_294 });
    expect(await find("", "dragons")).toEqual({ uid: undefined, gid: 202 });
    expect(asked).toEqual([]);
  });

  it("asks the system for names that stand in no file", async () => {
    expect(await find("remote")).toEqual({ uid: 70_000, gid: undefined });
    expect(asked.splice(0)).toEqual(["passwd remote"]);
  });

  it.each([
    ["nobody-here", "", "socketOwner", 'user "nobody-here"'],
    ["", "odd", "socketGroup", 'group "odd"'],
    ["drag", "", "socketOwner", 'user "drag"'], // a beginning is no name
    ["4294967295", "", "socketOwner", 'user "4294967295"'],
    ["--help", "", "socketOwner", 'user "--help"'],
    ["../etc", "", "socketOwner", 'user "../etc"'],
  ])(
    "names the setting of %j and %j, where there is no such one",
    async (user, group, key, who) => {
      await expect(find(user, group)).rejects.toMatchObject({
        code: "ERR_SETTINGS_VALUE",
        message: `Cannot give the socket to ${who}: there is no such ${who.split(" ")[0]}; the setting is download.server.${key}`,
      });
      expect(asked.splice(0)).not.toContain("passwd --help");
    },
  );

  it("finds root on this very machine", async () => {
    expect(await findSocketOwner({ socketOwner: "root", socketGroup: "" })).toMatchObject({
      uid: 0,
    });
  });
});
