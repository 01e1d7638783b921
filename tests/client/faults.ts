/** What happens to requests on their way. */
export interface FaultyFetch {
  fetch: typeof globalThis.fetch;
  /** The requests that were sent, as `PUT /path`. */
  sent: string[];
  /** Lets the next answers of requests that match get lost on their way back: the server has done what they asked for. */
  loseAnswers(pattern: RegExp, count: number): void;
  /** Lets the next answer to a request that matches never arrive, nor any news that it does not. */
  stallAnswer(pattern: RegExp): void;
  /** Puts another answer in the place of the next one to a request that matches. */
  replaceAnswer(pattern: RegExp, response: Response): void;
}

interface Fault {
  pattern: RegExp;
  count: number;
  answer(signal: AbortSignal): Promise<Response>;
}

/** The real fetch over the real network, which spoils answers when a test asks for it. */
export function faultyFetch(): FaultyFetch {
  const sent: string[] = [];
  let fault: Fault | undefined;
  return {
    sent,
    async fetch(input, init) {
      const request = `${init?.method ?? 'GET'} ${new URL(input as string).pathname}`;
      sent.push(request);
      const response = await globalThis.fetch(input, init);
      if (fault === undefined || fault.count === 0 || !fault.pattern.test(request)) return response;
      fault.count -= 1;
      await response.arrayBuffer();
      return await fault.answer(init!.signal!);
    },
    loseAnswers(pattern, count) {
      fault = { pattern, count, answer: () => Promise.reject(new TypeError('the connection was reset')) };
    },
    stallAnswer(pattern) {
      fault = { pattern, count: 1, answer: untilAborted };
    },
    replaceAnswer(pattern, response) {
      fault = { pattern, count: 1, answer: () => Promise.resolve(response) };
    },
  };
}

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
}
