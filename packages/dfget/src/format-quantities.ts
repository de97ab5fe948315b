/** `0 B`, `1023 B`, `4.00 KiB`, `31.5 GiB`: three digits, or four where 1024 is near. */
export function formatLength(length: number): string {
  const [value, unit] = scale(length);
  return `${value} ${unit}`;
}

/** As `formatLength`, a second. */
export function formatRate(bytesPerSecond: number): string {
  return `${formatLength(bytesPerSecond)}/s`;
}

/** `430 MiB of 1 GiB` as `0.42/1.00 GiB`: both in the unit of the larger one. */
export function formatLengthOf(done: number, length: number): string {
  const [total, unit] = scale(length);
  const divisor = 1024 ** UNITS.indexOf(unit);
  const part =
    unit === "B" ? String(done) : (done / divisor).toFixed(total.split(".")[1]?.length ?? 0);
  return `${part}/${total} ${unit}`;
}

/** `0:07`, `1:02:03`; `-:--` for what is not finite. */
export function formatClock(durationMs: number): string {
  if (!Number.isFinite(durationMs) || durationMs >= 360_000_000) return "-:--";
  const seconds = Math.max(0, Math.ceil(durationMs / 1000));
  const [hour, minute, second] = [
    Math.floor(seconds / 3600),
    Math.floor(seconds / 60) % 60,
    seconds % 60,
  ];
  const tail = `${hour > 0 ? String(minute).padStart(2, "0") : minute}:${String(second).padStart(2, "0")}`;
  return hour > 0 ? `${hour}:${tail}` : tail;
}

/** `0.32 s`, `12.4 s`, `3 min 20 s`, `1 h 5 min`. */
export function formatDuration(durationMs: number): string {
  const seconds = durationMs / 1000;
  if (seconds < 9.995) return `${seconds.toFixed(2)} s`;
  if (seconds < 99.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Whole per cent, but 0 and 100 only when it is none and all. */
export function formatPercent(part: number, whole: number): string {
  if (whole <= 0 || part >= whole) return "100%";
  if (part <= 0) return "0%";
  return `${Math.min(99, Math.max(1, Math.round((part * 100) / whole)))}%`;
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;

function scale(length: number): readonly [value: string, unit: (typeof UNITS)[number]] {
  let value = Math.max(0, length);
  for (const unit of UNITS) {
    if (unit === "B" ? Math.round(value) < 1024 : value < 1023.5) {
      if (unit === "B") return [String(Math.round(value)), unit];
      return [value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0), unit];
    }
    value /= 1024;
  }
  return [(value * 1024).toFixed(0), "PiB"];
}
