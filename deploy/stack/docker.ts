import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { CannotStart } from '../cannot-start.ts';
import { errorOutput } from '../settings-check.ts';

/** The top of the checkout, where the compose files are. */
export const root = fileURLToPath(new URL('../../', import.meta.url));

const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;

// Compose prefers variables of the shell to those of `.env`: an exported COMPOSE_PROJECT_NAME would delete another stack.
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(COMPOSE|CARDEA)_/.test(name)));

/** Runs `docker` with these words and returns what it printed. @throws Error with what it said */
export async function docker(...words: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)('docker', words, { cwd: root, env, maxBuffer: OUTPUT_BYTES_MAX });
  return stdout;
}

/** Docker Compose with the settings of one stack. */
export interface Compose {
  /** What an operator types before the words of Compose. */
  command: string;
  /** @throws Error with what it said */
  run(...words: string[]): Promise<string>;
  /** Runs it and prints what it says as it says it. @throws CannotStart that says what to do */
  show(words: string[], whatNext: string): Promise<void>;
  containers(): Promise<Container[]>;
  /** What the compose file plans, by service. Another compose file than that of the settings can be named. */
  planned(composeFile?: string): Promise<Planned[]>;
}

/** One service of a compose file. */
export interface Planned {
  service: string;
  hasCheck: boolean;
  /** The command, if it is not that of the image. */
  command: string[];
  environment: Record<string, string>;
}

/** One container of a stack. */
export interface Container {
  service: string;
  state: string;
  /** Empty if the container has no check, or has just been started. */
  health: string;
  exitCode: number;
}

/** Docker Compose with the file `.env` of the stack's folder. */
export function composeOf(folder: string): Compose {
  const before = ['compose', '--env-file', join(folder, '.env')];
  return {
    command: `docker compose --env-file ${join(folder, '.env')}`,
    run: (...words) => docker(...before, ...words),
    async show(words, whatNext) {
      if ((await inheritingOutput([...before, ...words])) !== 0) {
        throw new CannotStart(`"docker compose ${words.join(' ')}" failed, as it says above: ${whatNext}`);
      }
    },
    async containers() {
      const lines = (await docker(...before, 'ps', '--all', '--format', 'json')).trim().split('\n');
      return lines.filter((line) => line !== '').flatMap(parseContainers);
    },
    async planned(composeFile) {
      const file = composeFile === undefined ? [] : ['--file', composeFile];
      const { services } = JSON.parse(await docker(...before, ...file, 'config', '--format', 'json')) as ComposeConfig;
      return Object.entries(services).map(([service, { healthcheck, command, environment }]) => ({
        service,
        hasCheck: healthcheck !== undefined,
        command: command ?? [],
        environment: environment ?? {},
      }));
    },
  };
}

/** Builds the image of all services from this checkout, and prints how it goes. @throws CannotStart */
export async function buildImage(image: string): Promise<void> {
  const words = ['build', '--file', 'deploy/Dockerfile', '--tag', image, '.'];
  if ((await inheritingOutput(words)) !== 0) {
    throw new CannotStart('the image could not be built, as it says above: when it can, run this command again');
  }
}

/** Whether Docker has containers or volumes of a stack, by the name of its project. */
export async function hasProject(name: string): Promise<boolean> {
  const ofProject = ['--quiet', '--filter', `label=com.docker.compose.project=${name}`];
  const found = [await docker('container', 'ls', '--all', ...ofProject), await docker('volume', 'ls', ...ofProject)];
  return found.some((ids) => ids.trim() !== '');
}

export async function hasImage(image: string): Promise<boolean> {
  return (await docker('image', 'ls', '--quiet', image)).trim() !== '';
}

/**
 * Runs a shell script in a container of an image, and returns what it printed. It runs as root without a network, and with
 * only the rights to read and give away files of other users. `words` are mounts and variables.
 * @throws Error with what it said, and with its exit code as `code`
 */
export function inContainer(image: string, words: string[], script: string): Promise<string> {
  const rights = ['CHOWN', 'DAC_OVERRIDE', 'FOWNER'].flatMap((right) => ['--cap-add', right]);
  const closed = ['--network', 'none', '--read-only', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges'];
  return docker('run', '--rm', '--user', '0:0', ...closed, ...rights, ...words, image, 'sh', '-ec', script);
}

/** The user of an image, as `uid:gid`. Gets the image if it is not there. */
export async function userIn(image: string, user: string): Promise<string> {
  try {
    const words = ['run', '--rm', '--network', 'none', '--entrypoint', 'sh', image];
    return (await docker(...words, '-c', `echo "$(id -u ${user}):$(id -g ${user})"`)).trim();
  } catch (error) {
    throw new CannotStart(`Docker cannot run the image ${image}: ${errorOutput(error)}`, { cause: error });
  }
}

// Older versions of Compose print one list, newer ones a line for each container.
function parseContainers(line: string): Container[] {
  const parsed = JSON.parse(line) as ComposeContainer | ComposeContainer[];
  return [parsed].flat().map(({ Service, State, Health, ExitCode }) => ({
    service: Service,
    state: State,
    health: Health,
    exitCode: ExitCode,
  }));
}

interface ComposeConfig {
  services: Record<string, { healthcheck?: unknown; command?: string[] | null; environment?: Record<string, string> }>;
}

interface ComposeContainer {
  Service: string;
  State: string;
  Health: string;
  ExitCode: number;
}

async function inheritingOutput(words: string[]): Promise<number | null> {
  const child = spawn('docker', words, { cwd: root, env, stdio: ['ignore', 'inherit', 'inherit'] });
  const [code] = (await once(child, 'exit')) as [number | null];
  return code;
}
