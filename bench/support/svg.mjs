// Results as a picture: a panel for each path and mode, a bar for each backend. Reads on white and on dark.
import { digits, nameOf } from "./tables.mjs";
import { groupBy } from "./statistics.mjs";

const WIDTH = 820;
const LABEL_WIDTH = 190;
const VALUE_WIDTH = 200;
const BAR_HEIGHT = 18;
const BAR_GAP = 6;
const PANEL_GAP = 30;
const MARGIN = 20;
const FONT_SIZE = 13;
/** Told apart by everybody, on white and on black. */
const COLORS = { udp: "#2f7fd6", tcp: "#8a8f98" };

/**
 * @param results - see summarise.mjs
 * @param options.titles - of the paths, by name
 * @param options.caption - one line on the machine
 * @param options.isUdp - whether a backend's bar has QUIC's colour
 * @returns the text of an SVG file
 */
export function formatSvg(results, { titles, caption, isUdp }) {
  const shown = results.filter(({ rate }) => rate !== undefined);
  const panels = [...groupBy(shown, ({ path, mode }) => `${path} ${mode}`).values()];
  const parts = [];
  let y = MARGIN + FONT_SIZE;
  parts.push(
    text(MARGIN, y, "Rate in MB/s, medians; bars of one panel compare, panels do not", "title"),
  );
  for (const panel of panels) {
    y += PANEL_GAP;
    const [{ path, mode }] = panel;
    parts.push(text(MARGIN, y, `${titles[path] ?? path}, ${mode} to ${mode}`, "title"));
    y += BAR_GAP;
    const most = Math.max(...panel.map(({ rate }) => rate));
    for (const result of panel) {
      parts.push(...bar(result, y, { most, isUdp }));
      y += BAR_HEIGHT + BAR_GAP;
    }
  }
  y += PANEL_GAP - BAR_GAP;
  parts.push(text(MARGIN, y, caption, "small"));
  return frame(y + MARGIN, parts);
}

function bar(result, y, { most, isUdp }) {
  const room = WIDTH - 2 * MARGIN - LABEL_WIDTH - VALUE_WIDTH;
  const length = most > 0 ? Math.max(1, (result.rate / most) * room) : 1;
  const x = MARGIN + LABEL_WIDTH;
  const baseline = y + BAR_HEIGHT - 5;
  const color = isUdp(result) ? COLORS.udp : COLORS.tcp;
  const [ratio] = Object.values(result.ratios);
  const comparison =
    ratio === undefined ? "" : ` (${digits(ratio, 2)} x ${Object.keys(result.ratios)[0]})`;
  return [
    text(x - 8, baseline, nameOf(result), "label"),
    `<rect x="${x}" y="${y}" width="${length.toFixed(1)}" height="${BAR_HEIGHT}" rx="2" fill="${color}"/>`,
    text(x + length + 8, baseline, `${digits(result.rate)} MB/s${comparison}`, "value"),
  ];
}

function frame(height, parts) {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">
<style>
  text { font: ${FONT_SIZE}px system-ui, sans-serif; fill: #24292f; }
  .title { font-weight: 600; }
  .label { text-anchor: end; }
  .small { font-size: ${FONT_SIZE - 3}px; }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3; } }
</style>
${parts.join("\n")}
</svg>
`;
}

function text(x, y, content, className) {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" class="${className}">${escapeXml(content)}</text>`;
}

function escapeXml(content) {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
