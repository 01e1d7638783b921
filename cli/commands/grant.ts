import type { Command } from 'commander';
import type { Client } from '@cardea/client';
import { act, describe } from '../command.ts';
import { usage } from '../failure.ts';

type GrantInput = Parameters<Client['grants']['put']>[2];
type Question = Parameters<Client['grants']['explain']>[0];

interface PutOptions {
  secrets?: string;
  keys?: string;
  owner?: boolean;
  pathPrefix?: string;
  keyPrefix?: string;
  expiresAt?: string;
  cidrs?: string;
}

const PRINCIPAL = 'user:alice or application:ci';

/** Grants, and why somebody may or may not do something. */
export function addGrant(program: Command): void {
  const grant = program.command('grant').description('Grants: what a user or an application may do in a vault.');

  act(
    describe(grant.command('list').argument('<vault>'), 'List the grants in a vault.', ['cardea grant list payments']),
    async ({ cardea, output }, vault: string) => {
      await output.table(cardea.grants.list(vault, { limit: 500 }), {
        principal: ({ principal }) => principal,
        secrets: ({ secrets }) => secrets.join(','),
        keys: ({ keys }) => keys.join(','),
        owner: ({ owner }) => (owner ? 'yes' : ''),
        prefix: ({ pathPrefix, keyPrefix }) => [pathPrefix, keyPrefix].filter(Boolean),
        expires: ({ expiresAt }) => expiresAt,
        networks: ({ allowedCidrs }) => allowedCidrs,
      });
    },
  );

  act(
    describe(
      grant
        .command('put')
        .argument('<vault>')
        .argument('<principal>', PRINCIPAL)
        .option('--secrets <verbs>', 'list,read,write,delete,destroy,manage')
        .option('--keys <verbs>', 'list,encrypt,decrypt,sign,verify,rotate,import,delete,export,manage')
        .option('--owner', 'may do everything, and manages the grants')
        .option('--path-prefix <name>', 'only secrets of this name or under it')
        .option('--key-prefix <text>', 'only keys whose names begin so')
        .option('--expires-at <time>', 'ends at a time like 2027-01-31T00:00:00Z')
        .option('--cidrs <networks>', 'only from these networks, such as 10.0.0.0/8'),
      'Write the grant of a principal, and replace the old one.',
      ['cardea grant put payments user:alice --secrets list,read --path-prefix db'],
    ),
    async ({ cardea, output }, vault: string, principal: string, options: PutOptions) => {
      const { secrets, keys, owner, pathPrefix, keyPrefix, expiresAt, cidrs } = options;
      const input = {
        secrets: words(secrets) as GrantInput['secrets'],
        keys: words(keys) as GrantInput['keys'],
        owner: owner === true,
        allowedCidrs: words(cidrs),
        ...(pathPrefix === undefined ? {} : { pathPrefix }),
        ...(keyPrefix === undefined ? {} : { keyPrefix }),
        ...(expiresAt === undefined ? {} : { expiresAt }),
      };
      const written = await cardea.grants.put(vault, principal, input);
      output.done(`${principal} has a grant in ${vault}.`, written);
    },
  );

  act(
    describe(grant.command('delete').argument('<vault>').argument('<principal>', PRINCIPAL), 'Delete a grant.', [
      'cardea grant delete payments user:alice',
    ]),
    async ({ cardea, output }, vault: string, principal: string) => {
      await cardea.grants.delete(vault, principal);
      output.done(`${principal} has no grant in ${vault} any more.`);
    },
  );

  act(
    describe(
      program
        .command('explain')
        .argument('<principal>', PRINCIPAL)
        .argument('<action>', 'such as secret.read or key.encrypt')
        .argument('<place>', 'a vault, or the address of a secret or a key')
        .option('--ip <address>', 'as if the request came from there'),
      'Tell whether somebody may do something, and which rule decides.',
      ['cardea explain user:alice secret.read payments/db/password', 'cardea explain user:alice vault.read payments'],
    ),
    async ({ cardea, output }, principal: string, action: string, place: string, { ip }: { ip?: string }) => {
      const [vault = '', ...name] = place.split('/');
      if (vault === '') throw usage(`"${place}" is neither a vault nor an address`);
      const answer = await cardea.grants.explain({
        principal,
        vault,
        action: action as Question['action'],
        ...(name.length === 0 ? {} : { name: name.join('/') }),
        ...(ip === undefined ? {} : { ip }),
      });
      output.done(`${answer.allowed ? 'allowed' : 'not allowed'} by ${answer.rule}`, answer);
    },
  );
}

function words(list: string | undefined): string[] {
  return list === undefined || list === '' ? [] : list.split(',');
}
