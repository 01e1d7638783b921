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

/** What a row of whole requests gives. */
export interface MeasuredWhole extends Omit<Measured, 'sent'> {
  /** How many requests were refused or failed, by the status of the answer or `no answer`. They are in no other figure. */
  refused: Record<string, number>;
}

const ROUNDS_MIN = 2;
const TRIES = 8;
const TIMEOUT_SECONDS = 300;

/**
 * Posts a body for some seconds, and at least twice on each connection, however slow that is. No request is broken off:
 * what a server still does for one that nobody waits for would slow down the next row.
 */
export async function measureWhole({ url, connections, token, seconds, body }: Load): Promise<MeasuredWhole> {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const send = async (amount: number): Promise<Sent> => {
    // The run of autocannon is longer than its requests, by up to a second.
    let [began, ended] = [Infinity, 0];
    const result = await autocannon({
      url,
      connections,
      amount,
      headers,
      method: 'POST',
      body: body!,
      timeout: TIMEOUT_SECONDS,
      setupClient(client) {
        began = Math.min(began, performance.now());
        client.on('response', () => void (ended = performance.now()));
      },
    });
    return sentOf(result, (ended - began) / 1_000);
  };
  const amountFor = (time: number, { done, took }: Sent) =>
    Math.max(ROUNDS_MIN, Math.ceil((done * time) / took / connections)) * connections;

  // The first requests of all are far slower than the rest.
  const first = await send(connections);
  const second = await send(amountFor(WARM_UP_SECONDS / 2, first));
  const warmUp = await send(amountFor(WARM_UP_SECONDS, second));
  const refused: Record<string, number> = {};
  let [done, took] = [0, 0];
  let latency = { p50: 0, p99: 0 };
  // A client of many connections may be refused more often than it is served.
  for (let tries = 0; tries < TRIES && done < ROUNDS_MIN * connections; tries += 1) {
    const sent = await send(amountFor(seconds, warmUp));
    done += sent.done;
    took += sent.took;
    for (const [status, count] of Object.entries(sent.refused)) refused[status] = (refused[status] ?? 0) + count;
    latency = sent.latency;
  }
  return { perSecond: done / took, p50Ms: latency.p50, p99Ms: latency.p99, refused };
}

interface Sent {
  /** How many requests were served, in `took` seconds. */
  done: number;
  took: number;
  refused: Record<string, number>;
  latency: { p50: number; p99: number };
}

function sentOf(result: autocannon.Result, took: number): Sent {
  const refused: Record<string, number> = {};
  for (const [status, { count = 0 }] of Object.entries(result.statusCodeStats ?? {})) {
    if (!status.startsWith('2')) refused[status] = count;
  }
  if (result.errors > 0) refused['no answer'] = result.errors;
  return { done: result['2xx'], took, refused, latency: result.latency };
}
