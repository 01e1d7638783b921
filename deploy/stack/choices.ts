import { isIP } from 'node:net';

import { CHECK_SETTINGS, inWords, readArguments } from '@cardea/process/arguments';

import { CannotStart, problemOf } from '../cannot-start.ts';
import type { Profile } from './stack-files.ts';

/** Where a stack is on its machine. It is chosen once, when the stack is installed. */
export interface Place {
  /** The name before each container, volume and network. */
  name: string;
  httpsPort: number;
  httpPort: number;
  grafanaPort: number;
  /** The first three numbers of the addresses between containers. */
  subnet: string;
}

/** The place of a new stack, where the command line says nothing else. */
export const defaultPlace: Place = {
  name: 'cardea',
  httpsPort: 443,
  httpPort: 80,
  grafanaPort: 3000,
  subnet: '10.213.77',
};

/** What the command `stack` is asked to do. What was not said is not in it. */
export interface Choices extends Partial<Place> {
  action: 'install' | 'upgrade' | 'uninstall' | 'check';
  profile?: Profile;
  /** The names and addresses under which people reach nginx. */
  hosts?: string[];
  /** The stack's folder; a relative one is relative to the checkout. */
  folder: string;
  /** Files with the operator's own certificate for nginx and its key. */
  certificate?: { certificate: string; key: string };
  /** Asks no question. */
  yes: boolean;
  deleteData: boolean;
  /** How long containers may take to get healthy. */
  patienceSeconds: number;
}

const usage = `npx -y pnpm@12 run stack [--profile mini|full] [--domain NAME[,NAME…]] [--yes]

  installs Cardea with Docker Compose, or resumes an installation. Without --profile and --domain it asks.
  --certificate FILE --key FILE   your own certificate for nginx, with its chain (PEM); otherwise Cardea makes one
  --https-port N --http-port N --grafana-port N --subnet A.B.C --folder PATH --name NAME
  --patience SECONDS   how long containers may take to get healthy, 300 if not said
  --upgrade      makes a backup, starts this version, and goes back if it does not get healthy
  --uninstall    removes containers and networks and keeps all data; with --delete-data also deletes the data
  --check-settings   checks these words and the settings of the stack, and makes nothing`;

const options = {
  profile: 'value',
  domain: 'value',
  certificate: 'value',
  key: 'value',
  folder: 'value',
  name: 'value',
  'https-port': 'value',
  'http-port': 'value',
  'grafana-port': 'value',
  subnet: 'value',
  patience: 'value',
  yes: 'flag',
  upgrade: 'flag',
  uninstall: 'flag',
  'delete-data': 'flag',
  [CHECK_SETTINGS]: 'flag',
} as const;

const actions = { upgrade: 'upgrade', uninstall: 'uninstall', [CHECK_SETTINGS]: 'check' } as const;

/** Reads the command line. Prints the usage and ends for `--help`. @throws CannotStart that names all that is wrong */
export function parseChoices(args: string[]): Choices {
  const { said, problems } = readArguments(args, { usage, options });
  // What is missing has been named.
  const ifSaid = <K extends keyof Choices>(
    key: K,
    option: keyof typeof options,
    parser: (text: string) => Choices[K],
  ) => {
    const text = said[option];
    const parsed: Partial<Pick<Choices, K>> = {};
    if (text) problems.push(...problemOf(() => void (parsed[key] = parser(text))));
    return parsed;
  };
  const wanted = Object.entries(actions).filter(([option]) => option in said);
  const choices: Choices = {
    action: wanted[0]?.[1] ?? 'install',
    ...ifSaid('profile', 'profile', parseProfile),
    ...ifSaid('hosts', 'domain', parseHosts),
    ...(said['certificate'] && said['key']
      ? { certificate: { certificate: said['certificate'], key: said['key'] } }
      : {}),
    folder: 'stack',
    ...ifSaid('folder', 'folder', parseFolder),
    ...ifSaid('name', 'name', parseName),
    ...ifSaid('httpsPort', 'https-port', (text) => parsePort('--https-port', text)),
    ...ifSaid('httpPort', 'http-port', (text) => parsePort('--http-port', text)),
    ...ifSaid('grafanaPort', 'grafana-port', (text) => parsePort('--grafana-port', text)),
    ...ifSaid('subnet', 'subnet', (text) => parseSubnet('--subnet', text)),
    yes: 'yes' in said,
    deleteData: 'delete-data' in said,
    // A machine with two slow cores starts the twenty containers of profile full in two minutes.
    patienceSeconds: 300,
    ...ifSaid('patienceSeconds', 'patience', parseSeconds),
  };
  problems.push(
    ...contradictions(
      choices,
      said,
      wanted.map(([option]) => `--${option}`),
    ),
  );
  if (problems.length > 0) throw new CannotStart(inWords(problems, usage));
  return choices;
}

function contradictions(
  { action, deleteData }: Choices,
  said: Record<string, string>,
  actionsSaid: string[],
): string[] {
  const hasCertificate = 'certificate' in said || 'key' in said;
  const isWhole = 'certificate' in said === 'key' in said;
  const changesStack = ['upgrade', 'uninstall'].includes(action);
  return [
    ...(actionsSaid.length > 1 ? [`choose one of ${actionsSaid.join(' and ')}`] : []),
    ...(deleteData && !('uninstall' in said) ? ['--delete-data belongs to --uninstall'] : []),
    ...(isWhole ? [] : ['--certificate and --key belong together']),
    ...(hasCertificate && changesStack
      ? ['--certificate and --key belong to a run without --upgrade and --uninstall']
      : []),
  ];
}

/** @throws CannotStart if it is neither mini nor full */
export function parseProfile(text: string): Profile {
  if (text === 'mini' || text === 'full') return text;
  throw new CannotStart(`there is no profile "${text}": choose mini or full`);
}

const hostName = /^(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;

/** Reads names and addresses with commas between them. @throws CannotStart for one that is neither */
export function parseHosts(text: string): string[] {
  const hosts = text.split(',').map((host) => host.trim().toLowerCase());
  const wrong = hosts.filter((host) => !hostName.test(host) && isIP(host) === 0);
  if (wrong.length === 0) return hosts;
  throw new CannotStart(wrong.map((host) => `"${host}" is neither the name nor the address of a machine`).join('\n'));
}

// Compose files write a folder and its place in a container with a colon between them.
function parseFolder(text: string): string {
  if (!/[:\r\n]/.test(text)) return text;
  throw new CannotStart(`--folder is ${JSON.stringify(text)}: Docker takes no folder with a colon or a line break`);
}

function parseName(text: string): string {
  if (/^[a-z0-9][a-z0-9_-]{0,30}$/.test(text)) return text;
  throw new CannotStart(`--name "${text}" must be 1 to 31 small letters, digits, - and _`);
}

/** @throws CannotStart with `option` if it is not a port */
export function parsePort(option: string, text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port >= 1 && port <= 65_535) return port;
  throw new CannotStart(`${option} is "${text}": a port is a number from 1 to 65535`);
}

function parseSeconds(text: string): number {
  if (/^[1-9]\d{0,4}$/.test(text)) return Number(text);
  throw new CannotStart(`--patience is "${text}": write a number of seconds`);
}

/** @throws CannotStart with `option` if it is not the beginning of an IPv4 address */
export function parseSubnet(option: string, text: string): string {
  if (isIP(`${text}.0`) === 4) return text;
  throw new CannotStart(`${option} is "${text}": write three numbers, as in 10.213.77`);
}
