import type { login, refresh } from '@cardea/contracts/identity/auth';
import { call } from './call.ts';
import type { AnswerOf, BodyOf, Call } from './call.ts';
import { CardeaError } from './errors.ts';
import type { Transport } from './transport.ts';

/** What continues a session of a user. Whoever has it is that user until the session ends. */
export interface Session {
  refreshToken: string;
}

/**
 * Where the session of a user is kept. A refresh token works once, and a second use ends the session. So `exclusive` must keep
 * out everybody who shares this store, other processes and tabs too, and `save` must be durable before it resolves.
 */
export interface SessionStore {
  /** Runs `work` while nobody else who shares the store runs theirs. */
  exclusive<T>(work: () => Promise<T>): Promise<T>;
  load(): Promise<Session | undefined>;
  /** Replaces the session; undefined removes it. */
  save(session: Session | undefined): Promise<void>;
}

/** Keeps a session as long as this process lives. Several clients may share it. */
export function memorySession(session?: Session): SessionStore {
  let kept = session;
  let last: Promise<unknown> = Promise.resolve();
  return {
    async exclusive(work) {
      const mine = last.then(work);
      // Whoever called it gets the error.
      last = Promise.allSettled([mine]);
      return await mine;
    },
    load: async () => kept,
    async save(next) {
      kept = next;
    },
  };
}

export type TokenPair = AnswerOf<typeof login>;
export type SignInInput = BodyOf<typeof login>;

const calls = {
  // A second sign-in would use up a code of TOTP that the first one has used.
  login: call<typeof login>('POST', '/auth/login'),
  refresh: call<typeof refresh>('POST', '/auth/refresh'),
} satisfies Record<string, Call>;

/** Signs a user in and keeps the session. @throws CardeaError `unauthenticated` whatever was wrong */
export async function signIn(transport: Transport, store: SessionStore, input: SignInInput): Promise<TokenPair> {
  return await store.exclusive(async () => {
    const { body } = await transport.send(calls.login, { body: input });
    await store.save({ refreshToken: body.refresh_token });
    return body;
  });
}

/** How long one refresh may take, in milliseconds. */
const REFRESH_MS_MAX = 3_000;
/**
 * How long a refresh without an answer is repeated, in milliseconds. The server repeats its answer to this client for 10 s.
 * After that the same token is a second use, which ends the session.
 */
const REPEATED_MS_MAX = 9_000;
/** How often it is repeated at once. */
const LOST_ANSWERS_MAX = 2;

/**
 * Gets the next access token of a session, and stores the next refresh token before it returns.
 * @throws CardeaError `unauthenticated` if there is no session, or it has ended
 */
export async function continueSession(transport: Transport, store: SessionStore): Promise<TokenPair> {
  return await store.exclusive(async () => {
    const session = await store.load();
    if (!session) throw new CardeaError('unauthenticated', 'nobody has signed in');
    try {
      const pair = await refreshOnce(transport, session);
      await store.save({ refreshToken: pair.refresh_token });
      return pair;
    } catch (error) {
      if (error instanceof CardeaError && error.code === 'unauthenticated') await store.save(undefined);
      throw error;
    }
  });
}

async function refreshOnce(transport: Transport, { refreshToken }: Session): Promise<TokenPair> {
  const request = { body: { refresh_token: refreshToken } };
  const giveUpAt = performance.now() + REPEATED_MS_MAX;
  let signal: AbortSignal | undefined;
  let lost: CardeaError | undefined;
  for (let tries = 0; ; tries += 1) {
    try {
      const { body } = await transport.send(calls.refresh, request, { timeoutMs: REFRESH_MS_MAX, signal });
      return body;
    } catch (error) {
      if (lost && signal?.aborted === true) throw lost;
      const noAnswer = error instanceof CardeaError && error.code === 'unavailable' && error.status === undefined;
      if (!noAnswer || tries === LOST_ANSWERS_MAX) throw error;
      lost = error;
      const leftMs = giveUpAt - performance.now();
      if (leftMs <= 0) throw error;
      // It also ends the wait that a 429 asks for, which may be longer.
      signal = AbortSignal.timeout(Math.ceil(leftMs));
    }
  }
}
