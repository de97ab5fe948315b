/** Bytes a millisecond as people read it: `38 MB/s`, 10^6 bytes each. */
export function formatRate(bytesPerMs: number): string {
  const megabytes = bytesPerMs / 1000;
  return `${megabytes < 10 ? megabytes.toFixed(1) : Math.round(megabytes)} MB/s`;
}
