/** Formats microseconds since 1970 as the audit log writes times: `2026-11-22T06:27:31.000000Z`. */
export function formatMicros(micros: number): string {
  const millis = Math.floor(micros / 1000);
  const rest = String(micros - millis * 1000).padStart(3, '0');
  return `${new Date(millis).toISOString().slice(0, -1)}${rest}Z`;
}

/** Like `formatMicros`, for milliseconds since 1970. */
export function formatMillis(millis: number): string {
  return formatMicros(millis * 1000);
}

/**
 * Parses an RFC 3339 time in UTC into microseconds since 1970. Further decimals are cut off. A double is exact until
 * the year 2255.
 */
export function parseMicros(time: string): number {
  const [, base = '', decimals = ''] = /^([^.]+?)(?:\.(\d+))?Z$/.exec(time) ?? [];
  return Date.parse(`${base}Z`) * 1000 + Number(decimals.slice(0, 6).padEnd(6, '0'));
}
