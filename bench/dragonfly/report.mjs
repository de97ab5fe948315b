// The figures as a page for people.
import { formatMachine } from "../support/machine.mjs";
import { groupBy } from "../support/statistics.mjs";

/** @param results - what --json holds */
export function formatReport(results) {
  const parts = results.flatMap(({ title, command, machine, dragonfly, samples, bars }) => [
    `## ${title}`,
    "",
    "```",
    `$ ${command}`,
    `${formatMachine(machine)}, ${machine.date.slice(0, 10)}, Dragonfly ${dragonfly}`,
    "```",
    "",
    ...formatSamples(samples),
    "",
    "| bar | measured | wanted | |",
    "|---|---|---|---|",
    ...bars.map(formatBar),
    "",
  ]);
  return [HEAD, ...parts].join("\n");
}

const HEAD = `# Against Dragonfly's daemons

Written by \`node bench/dragonfly.mjs --md\`: ours with mutual TLS and the transport that it chooses itself, Dragonfly's over plain TCP, its default; in turns,
each asked by its own dfget, from the start of its process to its end. Before each transfer what was written is on disk and memory is there for what will be. Seconds of each
round; a transfer that was cut off counts as done then.
`;

function formatSamples(samples) {
  const byContender = groupBy(samples, ({ contender }) => contender);
  const counts = ["served", "uploaded"].filter((name) => samples[0]?.[name] !== undefined);
  const head = ["", "seconds", ...counts.map((name) => `${name}, x the file`)];
  const rows = [...byContender].map(([contender, all]) => [
    contender,
    all.map(formatTime).join(", "),
    ...counts.map((name) => all.map((sample) => sample[name].toFixed(2)).join(", ")),
  ]);
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`);
}

function formatTime({ isWhole, seconds }) {
  return isWhole ? seconds.toFixed(2) : `more than ${seconds.toFixed(0)}`;
}

function formatBar({ what, ratio, atLeast, atMost, isMet }) {
  const wanted = atLeast === undefined ? `at most ${atMost}` : `at least ${atLeast}`;
  return `| ${what} | ${ratio.toFixed(2)} | ${wanted} | ${isMet ? "met" : "missed"} |`;
}
