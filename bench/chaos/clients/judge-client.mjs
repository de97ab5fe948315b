// Whether a download went as it may: the right bytes, or an error that what went wrong explains, and nothing left behind.
import { existsSync, readdirSync } from "node:fs";
import { believableLies } from "../checks/believable-lies.mjs";
import { compareContent } from "../checks/compare-content.mjs";
import { isLiarsWork } from "../checks/is-liars-work.mjs";
import { judgeFailure } from "../checks/judge-failure.mjs";

/** What went wrong just before a download may still be felt. Milliseconds. */
const SETTLE_MS = 3_000;

/**
 * @param client - that has ended
 * @param file - of files.mjs
 * @param incidents - all of them
 * @returns what is wrong, in words; empty: nothing
 */
export async function judgeClient(client, { file, incidents }) {
  const { download } = client;
  const problems = [];
  const { outcome } = client;
  const versions = file.versionsUntil(client.endedMs);
  if (outcome === "success") {
    const isOld = (version) => file.supersededMs(version) < client.startedMs;
    // What the origin no longer had when it was asked is not current.
    const allowed = download.revalidates ? versions.filter((version) => !isOld(version)) : versions;
    const wrong = await judgeOutput(client, { file, versions: allowed, known: versions });
    client.believesLiar =
      wrong.length > 0 &&
      (await believesLiar(client, {
        file,
        versions: allowed,
        hows: believableLies(client, incidents),
      }));
    if (!client.believesLiar) problems.push(...wrong);
  } else if (outcome === "error") {
    const reason = judgeFailure(
      { download, error: client.last },
      {
        incidents: incidents.during({
          fromMs: client.startedMs,
          untilMs: client.endedMs,
          settleMs: SETTLE_MS,
        }),
        changeCount: versions.length - 1,
        isBlind: file.spec.validators === "none",
        lengths: versions.map((version) => file.content(version).length),
      },
    );
    if (reason !== undefined) problems.push(`failed, and ${reason}: ${client.last.message}`);
  } else if (outcome === "killed") {
    problems.push(`did not end within ${Math.round(client.boundMs)} ms`);
  } else if (outcome === "odd") {
    const { code, signal } = client.exit;
    problems.push(`ended with ${code ?? signal} and said ${client.last?.event ?? "nothing"}`);
  }
  if (outcome !== "success") problems.push(...(await judgeRest(client, { file, versions })));
  problems.push(...judgeLeftovers(client));
  return problems;
}

async function judgeOutput(client, { file, versions, known = [], isPrefix = false }) {
  if (!client.hasOutput) return ["succeeded, and there is no file"];
  const candidates = candidatesOf(client, { file, versions });
  const { matches, description } = await compareContent(client.output, candidates, {
    isPrefix,
    known: candidatesOf(client, { file, versions: known }),
  });
  client.versions = matches.map(({ content }) => content.version);
  return matches.length > 0 ? [] : [`WRONG BYTES: ${description}`];
}

/** What the file may be: as much of each version as was asked for. */
function candidatesOf({ download: { mode, range } }, { file, versions }) {
  return versions
    .map((version) => file.content(version))
    .filter((content) => mode !== "range" || range.from < content.length)
    .map((content) => ({
      content,
      from: mode === "range" ? range.from : 0,
      end: mode === "range" ? Math.min(range.to + 1, content.length) : content.length,
    }));
}

/** Whether all that is wrong is what a liar said whom nobody could contradict. */
async function believesLiar(client, { file, versions, hows }) {
  if (!client.hasOutput || hows.length === 0) return false;
  for (const candidate of candidatesOf(client, { file, versions }))
    if (await isLiarsWork(client.output, candidate, { start: file.start, hows })) return true;
  return false;
}

/** One that did not succeed leaves no file, or one that was just complete; what was written to standard output is right as far as it goes. */
async function judgeRest(client, { file, versions }) {
  if (!client.hasOutput) return [];
  if (client.isStreamed) return await judgeOutput(client, { file, versions, isPrefix: true });
  const wrong = await judgeOutput(client, { file, versions });
  if (wrong.length > 0) return [`left a file although it did not succeed, and ${wrong.join()}`];
  // Its user, or we, ended it while the daemon was finishing; or the daemon was lost while it was saying so.
  return [];
}

/** A dfget that is killed while it writes the file itself cannot clean up; nobody else has an excuse. */
function judgeLeftovers(client) {
  if (!existsSync(client.directory)) return [];
  const wasKilled = client.exit.signal === "SIGKILL";
  const names = readdirSync(client.directory).filter((name) => name !== "file");
  return names
    .filter((name) => !(wasKilled && name.startsWith(".dfget-")))
    .filter((name) => !name.endsWith(".damselfly-tmp"))
    .map((name) => `left ${name} behind`);
}
