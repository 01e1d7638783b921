import type { clientCredentials } from '@cardea/contracts/identity/auth';
import { call } from './call.ts';
import { continueSession, memorySession, signIn } from './session.ts';
import type { SessionStore, SignInInput } from './session.ts';
import type { TokenSource, Transport } from './transport.ts';

/**
 * How the client signs in: as an application, by a session that a store keeps, as a user with a password, or by an access
 * token that somebody else renews.
 */
export type Credentials =
  | { clientId: string; clientSecret: string }
  | { session: SessionStore }
  | { username: string; password: string; otp?: string }
  | { token: string };

/** The tokens of the credentials, and the store of sessions that `auth.signIn` fills. */
export function tokensOf(transport: Transport, credentials: Credentials | undefined): Tokens {
  if (credentials === undefined) return new Tokens(transport, memorySession());
  if ('token' in credentials) return new Tokens(transport, memorySession(), { fixed: credentials.token });
  if ('session' in credentials) return new Tokens(transport, credentials.session);
  if ('clientId' in credentials) {
    const { clientId, clientSecret } = credentials;
    return new Tokens(transport, memorySession(), { ask: () => askAsApplication(transport, clientId, clientSecret) });
  }
  const { username, password, otp } = credentials;
  const input = { username, password, ...(otp === undefined ? {} : { otp }) };
  return new Tokens(transport, memorySession(), { input });
}

interface Ways {
  fixed?: string;
  ask?: () => Promise<Granted>;
  input?: SignInInput;
}

interface Granted {
  access_token: string;
  /** Seconds. */
  expires_in: number;
}

/** A token is renewed when this part of its life is over, so that none ends on the way. */
const USED_PART = 0.8;

/** The access token of one client. It is renewed once at a time, however many calls wait for it. */
export class Tokens implements TokenSource {
  readonly #transport: Transport;
  readonly #ways: Ways;
  readonly session: SessionStore;
  #current: { token: string; renewAtMs: number } | undefined;
  #renewal: Promise<string> | undefined;
  /** Resolves once the last sign-in or sign-out is over. */
  #change: Promise<unknown> = Promise.resolve();

  constructor(transport: Transport, session: SessionStore, ways: Ways = {}) {
    this.#transport = transport;
    this.session = session;
    this.#ways = ways;
  }

  async token(signal: AbortSignal | undefined): Promise<string> {
    if (this.#ways.fixed !== undefined) return this.#ways.fixed;
    if (this.#current && performance.now() < this.#current.renewAtMs) return this.#current.token;
    this.#renewal ??= this.#renew().finally(() => (this.#renewal = undefined));
    return await unlessAborted(this.#renewal, signal);
  }

  forget(token: string): boolean {
    if (this.#ways.fixed !== undefined) return false;
    // Another call may have renewed it already.
    if (this.#current?.token === token) this.#current = undefined;
    return true;
  }

  /** Signs a user in. From now on the calls of this client are that user's. */
  async signIn(input: SignInInput): Promise<void> {
    await this.#betweenRenewals(async () => this.#take(await signIn(this.#transport, this.session, input)));
  }

  /** Forgets the session here. `auth.signOut` ends it at the server before. */
  async forgetSession(): Promise<void> {
    await this.#betweenRenewals(async () => {
      this.#current = undefined;
      await this.session.exclusive(() => this.session.save(undefined));
    });
  }

  /** A renewal under way would otherwise put the token of the user before over that of this one. */
  async #betweenRenewals(work: () => Promise<unknown>): Promise<void> {
    // Whoever began them gets their errors.
    const before = Promise.allSettled([this.#change, this.#renewal]);
    const change = before.then(work);
    this.#change = Promise.allSettled([change]);
    await change;
  }

  async #renew(): Promise<string> {
    await this.#change;
    const { ask, input } = this.#ways;
    if (ask) return this.#take(await ask());
    const isFirst = input !== undefined && (await this.session.load()) === undefined;
    if (isFirst) return this.#take(await signIn(this.#transport, this.session, input));
    return this.#take(await continueSession(this.#transport, this.session));
  }

  #take({ access_token: token, expires_in: seconds }: Granted): string {
    this.#current = { token, renewAtMs: performance.now() + seconds * 1_000 * USED_PART };
    return token;
  }
}

// It changes nothing: a second token does no harm.
const askForToken = call<typeof clientCredentials>('POST', '/auth/token', true);

async function askAsApplication(transport: Transport, clientId: string, clientSecret: string): Promise<Granted> {
  const body = { grant_type: 'client_credentials', client_id: clientId, client_secret: clientSecret };
  const answer = await transport.send(askForToken, { body });
  return answer.body;
}

/** One caller gives up, and the others still wait for the same promise. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return await promise;
  signal.throwIfAborted();
  let abort: (() => void) | undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    abort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', abort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', abort!);
  }
}
