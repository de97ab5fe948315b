/** `text` with everything that could steer a terminal replaced: names, messages and headers come from the network. */
export function printable(text: string): string {
  return text.replaceAll(STEERING, "\ufffd");
}

/** Controls of both kinds (escape sequences, line breaks) and those that turn the direction of writing. */
// oxlint-disable-next-line no-control-regex -- they are what is looked for.
const STEERING = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** A URL to show: without the password, and without the values of parameters that may sign it. */
export function printableUrl(text: string, secretParams: Iterable<string>): string {
  if (!URL.canParse(text)) return printable(text);
  const url = new URL(text);
  if (url.password !== "") url.password = "***";
  for (const name of secretParams)
    if (url.searchParams.has(name)) url.searchParams.set(name, "***");
  return printable(url.href);
}
