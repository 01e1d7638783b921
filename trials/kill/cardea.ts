import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { planMini } from '@cardea/deploy/mini';
import { checkAddresses } from '@cardea/deploy/preflight';
import { Violation } from './ledger.ts';
import { serviceNames } from './orders.ts';
import type { Order, ServiceName, Tidings } from './orders.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const supervised = fileURLToPath(new URL('supervised.ts', import.meta.url));
// Below the ports that outgoing connections are given, so that none of these takes one of ours between two starts.
const FIRST_PORT = 21_000;
const PORTS = 10_000;
const PORTS_EACH = 13;

/** A real Cardea of profile mini under its real supervisor, and the means to kill any of its processes. */
export class Cardea {
  readonly dataDir: string;
  readonly logFile: string;
  readonly url: string;
  /** Services that ended without being killed, by name and exit code. */
  readonly endedAlone = new Map<string, number>();

  readonly #env: NodeJS.ProcessEnv;
  readonly #ready = new Set<ServiceName>();
  /** Whether the newest order to kill a service found it running; without an entry the order is under way. */
  readonly #killed = new Map<ServiceName, boolean>();
  readonly #news = new EventEmitter();
  #supervisor: ChildProcess | undefined;
  #end: { code: number | null; how: string } | undefined;

  private constructor(folder: string, port: number) {
    this.dataDir = join(folder, 'data');
    this.logFile = join(folder, 'log');
    this.#env = environment({ dataDir: this.dataDir, logFile: this.logFile, port });
    this.url = planMini(this.#env, root).url;
  }

  /** Finds ports and starts; `folder` takes its data and its log. */
  static async start(folder: string): Promise<Cardea> {
    const cardea = new Cardea(folder, await findPorts());
    cardea.startSupervisor();
    return cardea;
  }

  get password(): string {
    return readFileSync(join(this.dataDir, 'initial-admin-password'), 'utf8').trim();
  }

  startSupervisor(): void {
    const child = fork(supervised, { env: this.#env, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    let said = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (said += text));
    child.on('message', (tidings: Tidings) => this.#hear(tidings));
    child.once('exit', (code, signal) => {
      this.#end = { code, how: `the supervisor ended with ${code ?? signal} ${said}` };
      this.#news.emit('news');
    });
    this.#supervisor = child;
    this.#end = undefined;
  }

  /** Resolves when it is dead; false if it was not running. */
  async kill(name: ServiceName): Promise<boolean> {
    this.#killed.delete(name);
    this.#supervisor?.send({ kill: name } satisfies Order);
    await this.#until(() => this.#killed.has(name));
    return this.#killed.get(name) === true;
  }

  /** Its services notice and end by themselves, later. */
  async killSupervisor(): Promise<void> {
    this.#supervisor?.kill('SIGKILL');
    while (!this.#end) await once(this.#news, 'news');
    this.#ready.clear();
  }

  /** Resolves when every service has said that it is ready. @throws Violation if the supervisor ends, or it takes longer */
  async untilReady(withinMs: number): Promise<void> {
    await this.#until(() => this.#ready.size === serviceNames.length, AbortSignal.timeout(withinMs));
  }

  /** An orderly end. @throws Violation if it is none */
  async stop(): Promise<void> {
    this.#supervisor?.kill('SIGTERM');
    while (!this.#end) await once(this.#news, 'news');
    if (this.#end.code !== 0) throw new Violation(`asked to end, ${this.#end.how}`);
  }

  async #until(condition: () => boolean, late?: AbortSignal): Promise<void> {
    while (!condition()) {
      if (this.#end) throw new Violation(`by itself ${this.#end.how}`);
      if (late?.aborted) throw new Violation(`not ready in time: ${this.#missing()}`);
      await once(this.#news, 'news', late ? { signal: late } : {}).catch(() => undefined);
    }
  }

  #hear(tidings: Tidings): void {
    const { name } = tidings;
    if (tidings.is === 'ready') this.#ready.add(name);
    else this.#ready.delete(name);
    if (tidings.is === 'not running') this.#killed.set(name, false);
    if (tidings.is === 'ended' && tidings.code === null) this.#killed.set(name, true);
    if (tidings.is === 'ended' && tidings.code !== null) {
      const how = `${name} with ${tidings.code}`;
      this.endedAlone.set(how, (this.endedAlone.get(how) ?? 0) + 1);
    }
    this.#news.emit('news');
  }

  #missing(): string {
    return serviceNames.filter((name) => !this.#ready.has(name)).join(', ');
  }
}

function environment(of: { dataDir: string; logFile: string; port: number }): NodeJS.ProcessEnv {
  return {
    ...process.env,
    NODE_COMPILE_CACHE: join(root, 'node_modules/.cache/cardea-compile'),
    CARDEA_DATA_DIR: of.dataDir,
    CARDEA_PORT: String(of.port),
    CARDEA_KILL_LOG: of.logFile,
    CARDEA_LOG_LEVEL: 'warn',
    CARDEA_REQUESTS_PER_MINUTE: '1000000000',
    CARDEA_READS_PER_SECOND: '1000000000',
    CARDEA_REFUSALS_PER_MINUTE: '1000000000',
    CARDEA_SIGN_INS_PER_MINUTE: '1000000000',
  };
}

async function findPorts(): Promise<number> {
  for (let offset = process.pid % PORTS; ; offset = (offset + PORTS_EACH) % PORTS) {
    const port = FIRST_PORT + offset;
    const addresses = Array.from({ length: PORTS_EACH }, (_, index) => ({ host: '127.0.0.1', port: port + index }));
    const isFree = await checkAddresses(addresses, 0).then(
      () => true,
      () => false,
    );
    if (isFree) return port;
  }
}
