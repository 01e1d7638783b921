import { isIP } from 'node:net';
import { parseArgs } from 'node:util';

import { CannotStart } from '../cannot-start.ts';
import type { Profile } from './stack-files.ts';

/** What the command `stack` is asked to do. */
export interface Choices {
  action: 'install' | 'upgrade' | 'uninstall';
  /** Undefined if it was not said: the command then asks, or the folder says it. */
  profile?: Profile;
  /** The names and addresses under which people reach nginx. */
  hosts?: string[];
  /** The stack's folder; a relative one is relative to the checkout. */
  folder: string;
  /** The name before each container, volume and network. */
  name: string;
  httpsPort: number;
  httpPort: number;
  grafanaPort: number;
  /** The first three numbers of the addresses between containers. */
  subnet: string;
  /** Files with the operator's own certificate for nginx and its key. */
  certificate?: { certificate: string; key: string };
  /** Asks no question. */
  yes: boolean;
  deleteData: boolean;
  /** How long containers may take to get healthy. */
  patienceSeconds: number;
}

export const usage = `npx -y pnpm@12 run stack [--profile mini|full] [--domain NAME[,NAME…]] [--yes]

  installs Cardea with Docker Compose, or resumes an installation. Without --profile and --domain it asks.
  --certificate FILE --key FILE   your own certificate for nginx, with its chain (PEM); otherwise Cardea makes one
  --https-port N --http-port N --grafana-port N --subnet A.B.C --folder PATH --name NAME
  --patience SECONDS   how long containers may take to get healthy, 300 if not said
  --upgrade      makes a backup, starts this version, and goes back if it does not get healthy
  --uninstall    removes containers and networks and keeps all data; with --delete-data also deletes the data`;

/** Reads the command line. @throws CannotStart that names the first thing that is wrong */
export function parseChoices(args: string[]): Choices {
  const { values } = parse(args);
  if (values.upgrade && values.uninstall) throw new CannotStart('choose one of --upgrade and --uninstall');
  if (values['delete-data'] && !values.uninstall) throw new CannotStart('--delete-data belongs to --uninstall');
  const certificate = parseCertificate(values.certificate, values.key);
  return {
    action: values.upgrade ? 'upgrade' : values.uninstall ? 'uninstall' : 'install',
    ...(values.profile === undefined ? {} : { profile: parseProfile(values.profile) }),
    ...(values.domain === undefined ? {} : { hosts: parseHosts(values.domain) }),
    ...(certificate === undefined ? {} : { certificate }),
    folder: values.folder,
    name: parseName(values.name),
    httpsPort: parsePort('--https-port', values['https-port']),
    httpPort: parsePort('--http-port', values['http-port']),
    grafanaPort: parsePort('--grafana-port', values['grafana-port']),
    subnet: parseSubnet(values.subnet),
    yes: values.yes,
    deleteData: values['delete-data'],
    patienceSeconds: parseSeconds(values.patience),
  };
}

function parse(args: string[]) {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  try {
    return parseArgs({
      args,
      options: {
        profile: text,
        domain: text,
        certificate: text,
        key: text,
        folder: { ...text, default: 'stack' },
        name: { ...text, default: 'cardea' },
        'https-port': { ...text, default: '443' },
        'http-port': { ...text, default: '80' },
        'grafana-port': { ...text, default: '3000' },
        subnet: { ...text, default: '10.213.77' },
        // A machine with two slow cores starts the twenty containers of profile full in two minutes.
        patience: { ...text, default: '300' },
        yes: flag,
        upgrade: flag,
        uninstall: flag,
        'delete-data': flag,
      },
    });
  } catch (error) {
    throw new CannotStart(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`, { cause: error });
  }
}

/** @throws CannotStart if it is neither mini nor full */
export function parseProfile(text: string): Profile {
  if (text === 'mini' || text === 'full') return text;
  throw new CannotStart(`there is no profile "${text}": choose mini or full`);
}

/** Reads names and addresses with commas between them. @throws CannotStart for one that is neither */
export function parseHosts(text: string): string[] {
  const hosts = text.split(',').map((host) => host.trim().toLowerCase());
  for (const host of hosts) {
    const isName = /^(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/.test(
      host,
    );
    if (!isName && isIP(host) === 0)
      throw new CannotStart(`"${host}" is neither the name nor the address of a machine`);
  }
  return hosts;
}

function parseName(text: string): string {
  if (/^[a-z0-9][a-z0-9_-]{0,30}$/.test(text)) return text;
  throw new CannotStart(`--name "${text}" must be 1 to 31 small letters, digits, - and _`);
}

function parsePort(option: string, text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port >= 1 && port <= 65_535) return port;
  throw new CannotStart(`${option} is "${text}": a port is a number from 1 to 65535`);
}

function parseSeconds(text: string): number {
  if (/^[1-9]\d{0,4}$/.test(text)) return Number(text);
  throw new CannotStart(`--patience is "${text}": write a number of seconds`);
}

function parseSubnet(text: string): string {
  if (isIP(`${text}.0`) === 4) return text;
  throw new CannotStart(`--subnet is "${text}": write three numbers, as in 10.213.77`);
}

function parseCertificate(certificate: string | undefined, key: string | undefined) {
  if (certificate === undefined && key === undefined) return undefined;
  if (certificate !== undefined && key !== undefined) return { certificate, key };
  throw new CannotStart('--certificate and --key belong together');
}
