import type { AuditEntry } from '@cardea/contracts/audit-api';
import supertest from 'supertest';
import type { Test } from 'supertest';
import type { z } from 'zod';

const API = '/api/v1';

/** A client at the front door without a token. */
export class Stranger {
  #url: string;
  #token: string | undefined;
  readonly #headers: Record<string, string>;

  constructor(url: string, token?: string, headers: Record<string, string> = {}) {
    this.#url = url;
    this.#token = token;
    this.#headers = headers;
  }

  /** Returns the same client with headers that all its requests carry. */
  with(headers: Record<string, string>): Stranger {
    return new Stranger(this.#url, this.#token, { ...this.#headers, ...headers });
  }

  /** Returns the same client with a token. */
  withToken(token: string): Stranger {
    return new Stranger(this.#url, token, this.#headers);
  }

  /** Takes the URL and the token of another client. */
  protected become(other: Stranger): void {
    this.#url = other.#url;
    this.#token = other.#token;
  }

  get token(): string {
    return this.#token ?? '';
  }

  request(method: 'get' | 'put' | 'post' | 'delete' | 'patch', path: string): Test {
    const agent = supertest(this.#url);
    const test = agent[method](API + path).set(this.#headers);
    return this.#token === undefined ? test : test.set('Authorization', `Bearer ${this.#token}`);
  }

  get(path: string): Test {
    return this.request('get', path);
  }

  put(path: string, body: object): Test {
    return this.request('put', path).send(body);
  }

  post(path: string, body: object = {}): Test {
    return this.request('post', path).send(body);
  }

  patch(path: string, body: object): Test {
    return this.request('patch', path).send(body);
  }

  delete(path: string): Test {
    return this.request('delete', path);
  }
}

export type Entry = z.output<typeof AuditEntry>;

/** A client that has signed in. Its verbs expect success. Use `get`, `put`, `post` to expect anything else. */
export class Person extends Stranger {
  static async signIn(url: string, username: string, password: string): Promise<Person> {
    const answer = await new Stranger(url).post('/auth/login', { username, password }).expect(200);
    return new Person(url, answer.body.access_token as string);
  }

  /** Signs in an application with its secret. `client` is its name or id. */
  static async ofApplication(url: string, client: string, secret: string): Promise<Person> {
    const credentials = { grant_type: 'client_credentials', client_id: client, client_secret: secret };
    const answer = await new Stranger(url).post('/auth/token', credentials).expect(200);
    return new Person(url, answer.body.access_token as string);
  }

  /** Takes the session of a later sign-in, so that every reference to this person has the new token. */
  continueAs(later: Person): void {
    this.become(later);
  }

  async createVault(name: string): Promise<void> {
    await this.post('/vaults', { name }).expect(201);
  }

  async putSecret(vault: string, name: string, value: string): Promise<void> {
    const answer = await this.put(`/vaults/${vault}/secrets/${name}`, { value });
    if (answer.status > 201) throw new Error(`put ${vault}/${name}: ${answer.status} ${answer.text}`);
  }

  async readSecret(vault: string, name: string): Promise<string> {
    const answer = await this.get(`/vaults/${vault}/secrets/${name}`).expect(200);
    return answer.body.value as string;
  }

  /**
   * The entries of the audit log, newest first, read as far as they are asked for: first a few, then twice as many at a
   * time, because each entry of a page is parsed several times on its way.
   */
  async *newestEntries(filter: Record<string, string> = {}): AsyncGenerator<Entry> {
    let page: Record<string, string> = { limit: '50' };
    for (let limit = 100; ; limit = Math.min(2 * limit, 500)) {
      const search = new URLSearchParams({ ...filter, ...page }).toString();
      const { body } = await this.get(`/audit/entries?${search}`).expect(200);
      yield* body.items as Entry[];
      if (body.nextCursor === undefined) return;
      page = { limit: String(limit), cursor: body.nextCursor as string };
    }
  }

  /** The newest entries of the audit log, newest first, without the entries about reads of the log. */
  async auditEntries(query: Record<string, string> = {}): Promise<Entry[]> {
    const search = new URLSearchParams({ limit: '500', ...query }).toString();
    const answer = await this.get(`/audit/entries?${search}`).expect(200);
    return (answer.body.items as Entry[]).filter((entry) => !entry.event.action.startsWith('audit.'));
  }
}
