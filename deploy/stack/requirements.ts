import { createConnection, createServer } from 'node:net';
import { networkInterfaces, totalmem } from 'node:os';
import { existsSync } from 'node:fs';
import { stat, statfs } from 'node:fs/promises';

import { CannotStart, errorCode } from '../cannot-start.ts';
import { checkClock } from '../preflight.ts';
import { docker } from './docker.ts';
import type { Profile } from './stack-files.ts';

const GIB = 1024 ** 3;

/** What a profile needs of the machine. Images, data of a first year and room for an upgrade are in `diskBytes`. */
const needs = {
  mini: { memoryBytes: 2 * GIB, diskBytes: 5 * GIB },
  full: { memoryBytes: 4 * GIB, diskBytes: 15 * GIB },
} as const;

/** What a new stack takes of the machine. */
export interface Wanted {
  profile: Profile;
  ports: number[];
  subnet: string;
}

/**
 * Checks everything that the stack needs of this machine.
 * @throws CannotStart that names everything that is missing, and says how to get it
 */
export async function checkRequirements(wanted: Wanted): Promise<void> {
  checkClock(new Date());
  const found = [
    await dockerProblem(),
    memoryProblem(wanted.profile),
    await diskProblem(wanted.profile),
    subnetProblem(wanted.subnet),
    ...(await Promise.all(wanted.ports.map(portProblem))),
  ];
  refuse(found.filter((problem) => problem !== undefined));
}

/** Checks only Docker and Compose, for a stack that has its ports already. @throws CannotStart */
export async function checkDocker(): Promise<void> {
  refuse([await dockerProblem()].filter((problem) => problem !== undefined));
}

/**
 * Checks that an upgrade has room for a backup of data of this size in the stack's folder, and for the new image and what a
 * migration writes again where Docker keeps them. One disk for both needs room for both.
 * @throws CannotStart that says where it is missing
 */
export async function checkUpgradeRoom(folder: string, dataBytes: number): Promise<void> {
  const places = [folder, await dockerFolder()].filter((place) => place !== undefined);
  const disks = await Promise.all(places.map(async (place) => ({ place, ...(await diskOf(place)) })));
  const bytes = dataBytes + GIB;
  const found = disks.map(({ place, device, freeBytes }) => {
    const neededBytes = bytes * disks.filter((other) => other.device === device).length;
    if (freeBytes >= neededBytes) return undefined;
    return `the upgrade needs ${gib(neededBytes)} of disk, and ${place} has ${gib(freeBytes)} left: make room. The backups in ${folder}/backups are yours: keep the ones that you need elsewhere, and delete them there`;
  });
  refuse(found.filter((problem) => problem !== undefined));
}

async function diskOf(folder: string): Promise<{ device: number; freeBytes: number }> {
  const { bavail, bsize } = await statfs(folder);
  return { device: (await stat(folder)).dev, freeBytes: bavail * bsize };
}

function refuse(problems: string[]): void {
  if (problems.length === 0) return;
  throw new CannotStart(['this machine is not ready:', ...problems.map((problem) => `- ${problem}`)].join('\n'));
}

async function dockerProblem(): Promise<string | undefined> {
  try {
    await docker('version', '--format', '{{.Server.Version}}');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') {
      return 'there is no docker: install Docker Engine with the Compose plugin (https://docs.docker.com/engine/install/)';
    }
    return 'the Docker engine does not answer: start it (sudo systemctl start docker), and let this user use it (sudo usermod -aG docker "$USER", then sign in again)';
  }
  try {
    const version = (await docker('compose', 'version', '--short')).trim();
    if (!/^v?1\./.test(version)) return undefined;
    return `Docker Compose is ${version}, and version 2 is needed: install docker-compose-plugin (https://docs.docker.com/compose/install/linux/)`;
  } catch {
    return '`docker compose` does not work: install docker-compose-plugin (https://docs.docker.com/compose/install/linux/)';
  }
}

function memoryProblem(profile: Profile): string | undefined {
  const { memoryBytes } = needs[profile];
  // A machine that is sold with 4 GiB has a little less.
  if (totalmem() >= memoryBytes * 0.9) return undefined;
  return `profile ${profile} needs ${memoryBytes / GIB} GiB of memory, and this machine has ${gib(totalmem())}`;
}

async function diskProblem(profile: Profile): Promise<string | undefined> {
  const folder = await dockerFolder();
  if (folder === undefined) return undefined;
  const { freeBytes } = await diskOf(folder);
  const { diskBytes } = needs[profile];
  if (freeBytes >= diskBytes) return undefined;
  return `profile ${profile} needs ${diskBytes / GIB} GiB of disk, and ${folder} has ${gib(freeBytes)} left: make room, or run \`docker system prune\``;
}

// With Docker Desktop the folder is in a virtual machine, whose disk nobody sees from here.
async function dockerFolder(): Promise<string | undefined> {
  try {
    const folder = (await docker('info', '--format', '{{.DockerRootDir}}')).trim();
    return existsSync(folder) ? folder : undefined;
  } catch {
    // dockerProblem has said so.
    return undefined;
  }
}

function subnetProblem(subnet: string): string | undefined {
  const own = Object.values(networkInterfaces()).flatMap((addresses = []) => addresses.map(({ address }) => address));
  const taken = own.find((address) => address.startsWith(`${subnet}.`));
  if (taken === undefined) return undefined;
  return `this machine has the address ${taken} already: choose three other numbers for the networks of containers, as in --subnet 10.99.1`;
}

async function portProblem(port: number): Promise<string | undefined> {
  if (!(await isTaken(port))) return undefined;
  return `port ${port} is in use by another program: stop it, or choose other ports (--https-port, --http-port, --grafana-port)`;
}

async function isTaken(port: number): Promise<boolean> {
  const refused = await new Promise<Error | undefined>((resolve) => {
    const server = createServer();
    server.once('error', resolve);
    server.listen({ port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
  // Only root may listen below 1024, but everybody may look whether somebody answers.
  return errorCode(refused) === 'EACCES' ? answers(port) : refused !== undefined;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ port, host: '127.0.0.1' });
    const end = (isThere: boolean) => {
      socket.destroy();
      resolve(isThere);
    };
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
  });
}

function gib(bytes: number): string {
  return `${(bytes / GIB).toFixed(1)} GiB`;
}
