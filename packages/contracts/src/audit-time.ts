/** `2026-11-22T06:27:31.000000Z` of a number of microseconds since 1970: six decimals, as all times of the audit log. */
export function formatMicros(micros: number): string {
  const millis = Math.floor(micros / 1000);
  const rest = String(micros - millis * 1000).padStart(3, '0');
  return `${new Date(millis).toISOString().slice(0, -1)}${rest}Z`;
}

/** The same of milliseconds, which is what clocks give. */
export function formatMillis(millis: number): string {
  return formatMicros(millis * 1000);
}

/**
 * Microseconds since 1970 of an RFC 3339 time in UTC, with any number of decimals or none; what is finer is cut off.
 * A double holds them exactly until the year 2255.
 */
export function parseMicros(time: string): number {
  const [, base = '', decimals = ''] = /^([^.]+?)(?:\.(\d+))?Z$/.exec(time) ?? [];
  return Date.parse(`${base}Z`) * 1000 + Number(decimals.slice(0, 6).padEnd(6, '0'));
}
