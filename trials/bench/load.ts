import autocannon from 'autocannon';

// A service runs for weeks, so only compiled code counts. V8 compiles the code of a read for some seconds, and on two
// cores that slows the reads down.
const WARM_UP_SECONDS = 3;
const VALUE = 'x'.repeat(64);

export interface Measured {
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
  /** How many requests there were, those of the warm-up included. */
  sent: number;
}

export interface Load {
  url: string;
  connections: number;
  token: string;
  seconds: number;
  /** Writes values under a thousand names below the path of `url`. Otherwise `url` is read. */
  writes?: boolean;
  /** Is posted to `url`. */
  body?: string;
}

/** Sends requests for some seconds, after a warm-up. @throws Error if a request is refused or fails */
export async function measure({ url, connections, token, seconds, writes = false, body }: Load): Promise<Measured> {
  let n = 0;
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const write = (request: autocannon.Request): autocannon.Request => {
    n += 1;
    return {
      ...request,
      path: `${new URL(url).pathname}/${connections}/${n % 1000}`,
      body: JSON.stringify({ value: `${VALUE}${n}` }),
    };
  };
  const options: autocannon.Options = writes
    ? { url, connections, duration: seconds, requests: [{ method: 'PUT', headers, setupRequest: write }] }
    : { url, connections, duration: seconds, headers, ...(body === undefined ? {} : { method: 'POST', body }) };
  const warmUp = await autocannon({ ...options, duration: WARM_UP_SECONDS });
  const result = await autocannon(options);
  if (result.non2xx > 0 || result.errors > 0)
    throw new Error(`${url}: ${result.non2xx} refused, ${result.errors} failed`);
  const sent = warmUp.requests.total + result.requests.total;
  return { perSecond: result.requests.average, p50Ms: result.latency.p50, p99Ms: result.latency.p99, sent };
}
