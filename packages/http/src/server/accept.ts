/** The media types of a bare value, beside JSON. */
export type BareType = 'text/plain' | 'application/octet-stream';

const bareTypes = ['text/plain', 'application/octet-stream'] as const;

/**
 * The type of a bare value if the client prefers one to JSON (RFC 9110 section 12.5.1), otherwise undefined. JSON is the
 * answer to a client that takes both equally, as many libraries say by default, and to one that takes neither.
 */
export function preferredBareType(accept: string | undefined): BareType | undefined {
  // What nearly every client sends.
  if (accept === undefined || accept === '*/*' || accept === 'application/json') return undefined;
  const ranges = accept.split(',').map(parseRange);
  const ofJson = qualityOf('application/json', ranges);
  let best: BareType | undefined;
  let bestQuality = ofJson;
  for (const type of bareTypes) {
    const quality = qualityOf(type, ranges);
    if (quality > bestQuality) [best, bestQuality] = [type, quality];
  }
  return best;
}

interface Range {
  range: string;
  quality: number;
}

const QUALITY = /^(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/;

function parseRange(text: string): Range {
  const [range = '', ...parameters] = text.split(';').map((part) => part.trim().toLowerCase());
  const q = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2);
  // A quality that is none is as if the range were not there.
  return { range, quality: q === undefined ? 1 : QUALITY.test(q) ? Number(q) : 0 };
}

// The most specific range counts.
function qualityOf(type: string, ranges: Range[]): number {
  const any = `${type.slice(0, type.indexOf('/'))}/*`;
  for (const wanted of [type, any, '*/*']) {
    const found = ranges.find(({ range }) => range === wanted);
    if (found) return found.quality;
  }
  return 0;
}
