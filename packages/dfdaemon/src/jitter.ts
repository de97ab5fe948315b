/** A pause of `ms` on average, by up to half of it shorter or longer: those who were disturbed together do not come back together. */
export function jitter(ms: number, random: () => number = Math.random): number {
  return ms * (0.5 + random());
}
