import type { ProtocolTotals } from "../../choice/choice-totals.ts";
import type { QuicBackendReport, TransportReport } from "../../transport-report.ts";

/** What several processes say of their transports, as one: counts are added up, parents and connections are those of all. */
export function mergeReports(reports: readonly TransportReport[]): TransportReport | undefined {
  const [first, ...others] = reports;
  if (first === undefined) return undefined;
  return others.reduce(merge, first);
}

function merge(left: TransportReport, right: TransportReport): TransportReport {
  return {
    mode: left.mode,
    offers: left.offers,
    protocols: mergeProtocols(left.protocols, right.protocols),
    doubledBytes: left.doubledBytes + right.doubledBytes,
    parents: [...left.parents, ...right.parents],
    quic: mergeQuic(left.quic, right.quic),
    tcp:
      left.tcp === null || right.tcp === null ? (left.tcp ?? right.tcp) : add(left.tcp, right.tcp),
  };
}

function mergeProtocols(
  left: readonly ProtocolTotals[],
  right: readonly ProtocolTotals[],
): ProtocolTotals[] {
  const names = new Set([...left, ...right].map(({ protocol }) => protocol));
  return [...names].map((protocol) => {
    const [one, other] = [left, right].map((totals) =>
      totals.find((each) => each.protocol === protocol),
    );
    return one === undefined || other === undefined ? (one ?? other)! : add(one, other);
  });
}

function mergeQuic(
  left: Readonly<Record<string, QuicBackendReport>>,
  right: Readonly<Record<string, QuicBackendReport>>,
): Record<string, QuicBackendReport> {
  const backends = new Set([...Object.keys(left), ...Object.keys(right)]);
  return Object.fromEntries(
    [...backends].map((backend) => {
      const [one, other] = [left[backend], right[backend]];
      return [
        backend,
        one === undefined || other === undefined ? (one ?? other)! : add(one, other),
      ];
    }),
  );
}

/** Adds numbers, joins lists, keeps texts of the first; into the depth. */
function add<Report extends object>(left: Report, right: Report): Report {
  const sum = new Map<string, unknown>(Object.entries(left));
  for (const [name, value] of Object.entries(right)) {
    const before = sum.get(name);
    if (typeof before === "number" && typeof value === "number") sum.set(name, before + value);
    else if (Array.isArray(before) && Array.isArray(value)) sum.set(name, [...before, ...value]);
    else if (isObject(before) && isObject(value)) sum.set(name, add(before, value));
    else if (before === undefined) sum.set(name, value);
  }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the same fields, of the same kinds
  return Object.fromEntries(sum) as Report;
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
