/**
 * Checks that tags are closed in their order and that text is escaped: all that this project's pictures need of XML.
 *
 * @throws {Error} that says where it is not
 */
export function assertWellFormed(xml) {
  const open = [];
  let at = 0;
  for (const match of xml.matchAll(/<(\/?)([a-z]+)((?:\s+[a-zA-Z-]+="[^"<&]*")*)\s*(\/?)>/g)) {
    const [tag, closing, name, , empty] = match;
    assertText(xml.slice(at, match.index));
    at = match.index + tag.length;
    if (closing !== "") {
      const last = open.pop();
      if (last !== name) throw new Error(`Cannot close ${name} at ${match.index}: ${last} is open`);
    } else if (empty === "") {
      open.push(name);
    }
  }
  assertText(xml.slice(at));
  if (open.length > 0) throw new Error(`Cannot end: ${open.join(", ")} still open`);
}

function assertText(text) {
  const bad = /<|>|&(?!amp;|lt;|gt;)/.exec(text);
  if (bad !== null) throw new Error(`Cannot take text: ${bad[0]} in ${JSON.stringify(text)}`);
}
