import type { Answer, FrontDoor, HttpRequest } from './front-door.ts';
import { Violation } from './ledger.ts';
import type { Ledger, SecretHistory } from './ledger.ts';

const API = '/api/v1';

/** The session that all clients share. */
export interface Session {
  token: string;
}

/** The result of a write or a read. `unknown` means that it was cut or answered 503, so it may have been done. */
export type Result = 'answered' | 'unknown' | 'unreachable';

/** One client of Cardea that records every request and every answer in the ledger. */
export class Client {
  readonly #door: FrontDoor;
  readonly #ledger: Ledger;
  readonly #session: Session;

  constructor(door: FrontDoor, ledger: Ledger, session: Session) {
    this.#door = door;
    this.#ledger = ledger;
    this.#session = session;
  }

  /** Begins a session for all clients. Returns false if the sign-in got no usable answer. */
  async signIn(password: string): Promise<boolean> {
    const body = { username: 'admin', password };
    const { answer } = await this.#send('auth.login', { method: 'POST', path: '/auth/login', body });
    if (!answer) return false;
    this.#session.token = (JSON.parse(answer.text) as { access_token: string }).access_token;
    return true;
  }

  async createVault(name: string, maxVersions?: number): Promise<boolean> {
    const body = { name, ...(maxVersions === undefined ? {} : { maxVersions }) };
    const { answer } = await this.#send('vault.create', { method: 'POST', path: '/vaults', body });
    if (answer) this.#ledger.vaults.push(name);
    return answer !== undefined;
  }

  async readVault(name: string): Promise<boolean> {
    const { answer } = await this.#send('vault.read', { method: 'GET', path: `/vaults/${name}` });
    if (answer?.status === 404) throw new Violation(`the vault ${name} was acknowledged but does not exist`);
    return answer !== undefined;
  }

  async write(secret: SecretHistory, value: string): Promise<Result> {
    const floor = secret.newest;
    secret.send(value);
    const request: HttpRequest = { method: 'PUT', path: `/vaults/${secret.path}`, body: { value } };
    const { answer, result } = await this.#send('secret.write', request);
    if (answer?.status === 404) throw new Violation(`${secret.path}: the vault was acknowledged but does not exist`);
    if (answer) secret.written({ ...(JSON.parse(answer.text) as Written), value, floor });
    return result;
  }

  /** Reads the version `wanted`, or the newest version if it is not given. */
  async read(secret: SecretHistory, wanted?: number): Promise<Result> {
    const floor = secret.newest;
    const search = wanted === undefined ? '' : `?version=${wanted}`;
    const request: HttpRequest = { method: 'GET', path: `/vaults/${secret.path}${search}` };
    const { answer, result } = await this.#send('secret.read', request);
    if (answer?.status === 404 && floor >= (wanted ?? 1)) {
      throw new Violation(`${secret.path}: version ${wanted ?? floor} was acknowledged but does not exist`);
    }
    if (answer?.status === 200) secret.read({ ...(JSON.parse(answer.text) as Read), wanted, floor });
    return result;
  }

  /** Lists the first secrets of a vault. */
  async list(vault: string): Promise<Result> {
    const request: HttpRequest = { method: 'GET', path: `/vaults/${vault}/secrets?limit=20` };
    const { answer, result } = await this.#send('secret.list', request);
    if (answer?.status === 404) throw new Violation(`the vault ${vault} was acknowledged but does not exist`);
    return result;
  }

  /** Reads the newest signed checkpoint. */
  async readCheckpoint(): Promise<string | undefined> {
    const { answer } = await this.#send('audit.read', { method: 'GET', path: '/audit/checkpoint' });
    return answer?.text;
  }

  /** Writes the whole audit log into a file as a tar. */
  async exportAuditLog(file: string): Promise<void> {
    const request: HttpRequest = { method: 'GET', path: `${API}/audit/export`, token: this.#session.token };
    this.#ledger.note('audit.export', await this.#door.download(request, file));
  }

  close(): void {
    this.#door.close();
  }

  async #send(action: string, request: HttpRequest): Promise<{ answer: Answer | undefined; result: Result }> {
    const token = action === 'auth.login' ? undefined : this.#session.token;
    const outcome = await this.#door.send({ ...request, path: API + request.path, token });
    const answer = this.#ledger.note(action, outcome);
    if (outcome.kind === 'unsent') return { answer, result: 'unreachable' };
    return { answer, result: answer ? 'answered' : 'unknown' };
  }
}

interface Written {
  version: number;
  changed: boolean;
}

interface Read {
  version: number;
  value: string;
}
