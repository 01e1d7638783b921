import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { planMini } from '@cardea/deploy/mini';
import { checkAddresses } from '@cardea/deploy/preflight';
import { Violation } from './ledger.ts';
import { serviceNames } from './messages.ts';
import type { KillOrder, ServiceName, ServiceEvent } from './messages.ts';

/** The project's folder. */
export const root = fileURLToPath(new URL('../..', import.meta.url));
const supervised = fileURLToPath(new URL('supervised.ts', import.meta.url));
// Below the ports of outgoing connections, so that no connection takes one of these ports between two starts.
const FIRST_PORT = 21_000;
const PORTS = 10_000;
const PORTS_EACH = 13;

/** A real Cardea of profile mini under its real supervisor. Can kill each of its processes. */
export class Cardea {
  readonly dataDir: string;
  readonly logFile: string;
  readonly url: string;
  /** How many times a service ended without being killed, by its name and exit code. */
  readonly endedByItself = new Map<string, number>();

  readonly #env: NodeJS.ProcessEnv;
  readonly #ready = new Set<ServiceName>();
  /** True if the last kill order found the service running. Without an entry the order is still under way. */
  readonly #killed = new Map<ServiceName, boolean>();
  readonly #changes = new EventEmitter();
  #supervisor: ChildProcess | undefined;
  #end: { code: number | null; how: string } | undefined;

  private constructor(folder: string, port: number) {
    this.dataDir = join(folder, 'data');
    this.logFile = join(folder, 'log');
    this.#env = {
      ...testEnvironment({ dataDir: this.dataDir, port }),
      CARDEA_TEST_KILL_LOG: this.logFile,
    };
    this.url = planMini(this.#env, root).url;
  }

  /** Finds free ports and starts Cardea, with its data and its log in `folder`. */
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
    let output = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.on('message', (event: ServiceEvent) => this.#onEvent(event));
    child.once('exit', (code, signal) => {
      this.#end = { code, how: `the supervisor ended with ${code ?? signal} ${output}` };
      this.#changes.emit('change');
    });
    this.#supervisor = child;
    this.#end = undefined;
  }

  /** Kills a service. Resolves when it has ended, to false if it was not running. */
  async kill(name: ServiceName): Promise<boolean> {
    this.#killed.delete(name);
    this.#supervisor?.send({ kill: name } satisfies KillOrder);
    await this.#until(() => this.#killed.has(name));
    return this.#killed.get(name) === true;
  }

  /** Kills the supervisor. Its services notice that later and end by themselves. */
  async killSupervisor(): Promise<void> {
    this.#supervisor?.kill('SIGKILL');
    while (!this.#end) await once(this.#changes, 'change');
    this.#ready.clear();
  }

  /** Resolves when every service is ready. @throws Violation if the supervisor ends, or after `withinMs` */
  async untilReady(withinMs: number): Promise<void> {
    await this.#until(() => this.#ready.size === serviceNames.length, AbortSignal.timeout(withinMs));
  }

  /** Stops Cardea in order. @throws Violation if the exit code is not 0 */
  async stop(): Promise<void> {
    this.#supervisor?.kill('SIGTERM');
    while (!this.#end) await once(this.#changes, 'change');
    if (this.#end.code !== 0) throw new Violation(`after SIGTERM ${this.#end.how}`);
  }

  async #until(condition: () => boolean, late?: AbortSignal): Promise<void> {
    while (!condition()) {
      if (this.#end) throw new Violation(`${this.#end.how}, but nobody stopped it`);
      if (late?.aborted) throw new Violation(`not ready in time: ${this.#missing()}`);
      await once(this.#changes, 'change', late ? { signal: late } : {}).catch(() => undefined);
    }
  }

  #onEvent(event: ServiceEvent): void {
    const { name } = event;
    if (event.is === 'ready') this.#ready.add(name);
    else this.#ready.delete(name);
    if (event.is === 'not running') this.#killed.set(name, false);
    if (event.is === 'ended' && event.code === null) this.#killed.set(name, true);
    if (event.is === 'ended' && event.code !== null) {
      const how = `${name} with ${event.code}`;
      this.endedByItself.set(how, (this.endedByItself.get(how) ?? 0) + 1);
    }
    this.#changes.emit('change');
  }

  #missing(): string {
    return serviceNames.filter((name) => !this.#ready.has(name)).join(', ');
  }
}

/** The settings of a Cardea under test: limits that no load reaches. */
export function testEnvironment(of: { dataDir: string; port: number }): NodeJS.ProcessEnv {
  return {
    ...process.env,
    NODE_COMPILE_CACHE: join(root, 'node_modules/.cache/cardea-compile'),
    CARDEA_DATA_DIR: of.dataDir,
    CARDEA_PORT: String(of.port),
    CARDEA_LOG_LEVEL: 'warn',
    CARDEA_REQUESTS_PER_MINUTE: '1000000000',
    CARDEA_READS_PER_SECOND: '1000000000',
    CARDEA_REFUSALS_PER_MINUTE: '1000000000',
    CARDEA_SIGN_INS_PER_MINUTE: '1000000000',
  };
}

/** The first of thirteen free ports in a row. */
export async function findPorts(): Promise<number> {
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
