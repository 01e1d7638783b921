import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { findFreePort } from '@cardea/testkit/servers';
import { composeOf, docker } from '@cardea/deploy/stack/docker';
import type { Compose } from '@cardea/deploy/stack/docker';
import { readEnv } from '@cardea/deploy/stack/env-file';
import type { Profile } from '@cardea/deploy/stack/stack-files';
import { root } from '../kill/cardea.ts';
import { frontDoorAt } from './front-door.ts';
import type { FrontDoor } from './front-door.ts';

const HOST = 'cardea.test';
const WITHIN_MS = 90_000;

/** A stack of this trial, which the command of the product installs and removes. */
export interface Stack {
  profile: Profile;
  folder: string;
  compose: Compose;
  door: FrontDoor;
  /** The name of the service of an api-service. */
  api: string;
  /** Runs the command `stack` of this checkout, or of the one in `from`. Resolves with its exit code. */
  run(words: string[], from?: string): Promise<number | null>;
  /** Installs it, or resumes. @throws Error if the command fails */
  install(): Promise<void>;
  /** Runs a command in the container of the operator, who types this. @throws Error with what it said */
  operate(words: string[], typed?: string, options?: string[]): Promise<string>;
  /** The ids of its containers. */
  ids(): Promise<string[]>;
  /** Kills the first process of a container, as a crash does. Docker then starts it again. */
  crash(service: string): Promise<void>;
  /** Repeats `probe` until it is true. @throws Error after 90 s */
  until(what: string, probe: () => Promise<boolean>): Promise<void>;
  /** What Docker still has of it: containers, volumes and networks. */
  remains(): Promise<string[]>;
}

/** Plans a stack on free ports. Nothing is started. */
export async function planStack(profile: Profile, folder: string): Promise<Stack> {
  const name = `cardea-trial-${profile}`;
  const [https, http, grafana] = [await findFreePort(), await findFreePort(), await findFreePort()];
  const ports = ['--https-port', `${https}`, '--http-port', `${http}`, '--grafana-port', `${grafana}`];
  const planned = ['--profile', profile, '--domain', HOST, '--name', name, ...ports, '--subnet', '10.213.201'];
  const compose = composeOf(folder);
  const stack: Stack = {
    profile,
    folder,
    compose,
    api: profile === 'mini' ? 'api' : 'api-1',
    get door() {
      return frontDoorAt(https, HOST, readFileSync(join(folder, 'tls/ca.pem'), 'utf8'));
    },
    async run(words, from = root) {
      const script = join(from, 'deploy/stack/stack-main.ts');
      const all = [script, '--folder', folder, '--yes', ...words];
      const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...all], { stdio: 'inherit' });
      const [code] = (await once(child, 'exit')) as [number | null];
      return code;
    },
    async install() {
      const code = await stack.run((await readEnv(folder)) ? [] : planned);
      if (code !== 0) throw new Error(`the command stack ended with ${code}`);
    },
    async operate(words, typed = '', options = []) {
      const before = ['compose', '--env-file', join(folder, '.env'), 'run', '--rm', '--no-TTY', ...options];
      const running = promisify(execFile)('docker', [...before, 'operator', ...words], { cwd: root });
      running.child.stdin!.end(typed);
      return (await running).stdout;
    },
    async ids() {
      return (await compose.run('ps', '--all', '--quiet')).trim().split('\n').sort();
    },
    async crash(service) {
      const id = (await compose.run('ps', '--quiet', service)).trim();
      const pid = (await docker('inspect', '--format', '{{.State.Pid}}', id)).trim();
      const image = (await readEnv(folder))!['CARDEA_IMAGE']!;
      // `docker kill` counts as a stop by hand, after which Docker would not start it again.
      const words = ['run', '--rm', '--pid', 'host', '--network', 'none', '--user', '0:0', '--entrypoint', 'sh'];
      await docker(...words, image, '-c', `kill -9 ${pid}`);
    },
    async until(what, probe) {
      const giveUpAt = performance.now() + WITHIN_MS;
      while (!(await probe())) {
        if (performance.now() > giveUpAt) throw new Error(`not within ${WITHIN_MS / 1000} s: ${what}`);
        await sleep(100);
      }
    },
    async remains() {
      const label = ['--filter', `label=com.docker.compose.project=${name}`, '--quiet'];
      const found = [
        docker('ps', '--all', ...label),
        docker('volume', 'ls', ...label),
        docker('network', 'ls', ...label),
      ];
      return (await Promise.all(found)).flatMap((text) => text.trim().split('\n')).filter((id) => id !== '');
    },
  };
  return stack;
}

/** Runs a program of this checkout with Node. @throws Error with what it said */
export async function runNode(...words: string[]): Promise<string> {
  return (await promisify(execFile)(process.execPath, words, { cwd: root })).stdout;
}
