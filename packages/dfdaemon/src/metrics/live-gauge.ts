import { Gauge, type Registry } from "prom-client";

/** A gauge of what is under way, by labels. */
export interface LiveGauge<Labels> {
  add(labels: Labels, change: 1 | -1): void;
}

/**
 * Keeps the count itself, and shows it when the metrics are read: a reset forgets the labels that nothing is under way for, never what
 * is. (Dragonfly's gauges, reset while something runs, end below zero.)
 */
export function createLiveGauge<Name extends string>(
  registry: Registry,
  options: {
    readonly name: string;
    readonly help: string;
    readonly labelNames: readonly Name[];
  },
): LiveGauge<Readonly<Record<Name, string>>> {
  const live = new Map<
    string,
    { readonly labels: Readonly<Record<Name, string>>; count: number }
  >();
  const gauge = new LiveCountGauge({
    name: options.name,
    help: options.help,
    labelNames: [...options.labelNames],
    registers: [registry],
    collect(): void {
      for (const { labels, count } of live.values()) gauge.set({ ...labels }, count);
    },
  });
  gauge.onReset = () => {
    for (const [key, { count }] of live) if (count === 0) live.delete(key);
  };
  return {
    add(labels, change) {
      const key = JSON.stringify(options.labelNames.map((name) => labels[name]));
      const entry = live.get(key) ?? { labels, count: 0 };
      entry.count += change;
      live.set(key, entry);
    },
  };
}

class LiveCountGauge extends Gauge {
  onReset: (() => void) | undefined;

  override reset(): void {
    super.reset();
    // Called by the constructor too.
    this.onReset?.();
  }
}
