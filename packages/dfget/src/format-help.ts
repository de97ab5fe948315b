import { FLAGS, type Flag } from "./flags.ts";

/** The text of `--help`, made from the table of flags so that it cannot lie. Ends with a line break. */
export function formatHelp(): string {
  return `Usage: dfget URL -O FILE [flags]

Downloads a file through the daemon on this node, which takes it from peers
where it can and from the URL where it must. FILE appears when it is complete,
or not at all.

${FLAGS.flatMap(formatFlag).join("\n")}

Exit status: 0 done, 1 failed, 2 wrong usage, 129 stopped by SIGHUP, 130 by
SIGINT, 143 by SIGTERM.
`;
}

/** One row a flag, for the README; a test keeps it there. */
export function formatFlagTable(): string {
  const rows = FLAGS.map((flag) => {
    const cells = [formatUsage(flag).trim(), flag.env ?? "", flag.fallback ?? "", flag.help];
    return `| ${cells.map((cell, index) => (index < 2 && cell !== "" ? `\`${cell}\`` : cell).replaceAll("|", "\\|")).join(" | ")} |`;
  });
  return ["| flag | variable | default | meaning |", "|---|---|---|---|", ...rows].join("\n");
}

/** Columns of the narrowest terminal that people use, and where the meanings start there. */
const LINE_LENGTH = 80;
const MEANING_COLUMN = 30;

/** Its usage, and its meaning beside it, or below if the usage is too long. */
function formatFlag(flag: Flag): string[] {
  const usage = `  ${formatUsage(flag)}`;
  const meaning = wrap(formatMeaning(flag), LINE_LENGTH - MEANING_COLUMN);
  const isLong = usage.length > MEANING_COLUMN - 2;
  const [first = "", ...rest] = isLong ? ["", ...meaning] : meaning;
  return [
    `${usage.padEnd(MEANING_COLUMN)}${first}`.trimEnd(),
    ...rest.map((text) => `${" ".repeat(MEANING_COLUMN)}${text}`),
  ];
}

function formatUsage({ short, name, value }: Flag): string {
  return `${short === undefined ? "    " : `-${short}, `}--${name}${value === undefined ? "" : ` ${value}`}`;
}

function formatMeaning({ help, fallback, env }: Flag): string {
  return `${help}${fallback === undefined ? "" : ` [${fallback}]`}${env === undefined ? "" : ` ($${env})`}`;
}

function wrap(text: string, length: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const line = lines.at(-1);
    if (line === undefined || line.length + 1 + word.length > length) lines.push(word);
    else lines[lines.length - 1] = `${line} ${word}`;
  }
  return lines;
}
