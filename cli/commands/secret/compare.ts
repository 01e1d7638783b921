import type { Command } from 'commander';
import { bytesOf, formatAddress, parseAddress } from '@cardea/client';
import type { Client } from '@cardea/client';
import { diffLines } from 'diff';
import { act, describe } from '../../command.ts';
import type { Context } from '../../command.ts';
import { usage } from '../../failure.ts';
import { asText } from '../../input.ts';
import { printValue } from '../../print-value.ts';

/** A line of one value or of both, with its line break. */
interface Line {
  in: 'both' | 'first' | 'second';
  text: string;
}

const MARKS = { both: ' ', first: '-', second: '+' } as const;

/** Shows what changed between two versions or two secrets. */
export function addCompare(secret: Command): void {
  act(
    describe(
      secret
        .command('diff')
        .argument('<address>', 'a secret or a version')
        .argument('[other]', 'what it is compared with; the newest version of the secret if it is not given'),
      'Show which lines of two values differ. Of one secret alone: what its newest version changed. Both values are ' +
        'read, and the log says so.',
      [
        'cardea secret diff payments/db/password',
        'cardea secret diff payments/db/password@1',
        'cardea secret diff payments/db/password payments/prod/db/password --json',
      ],
    ),
    diffSecrets,
  );
}

async function diffSecrets({ cardea, output, json }: Context, address: string, other: string | undefined) {
  const [from, to] = other === undefined ? await versionsOf(cardea, address) : [address, other];
  const [first, second] = [await read(cardea, from), await read(cardea, to)];
  const lines = linesOf(first.text, second.text);
  const isSame = first.text === second.text;
  if (json) return output.object({ from: first.address, to: second.address, isSame, lines });
  const shown = [
    `--- ${first.address}`,
    `+++ ${second.address}`,
    ...lines.map((line) => `${MARKS[line.in]}${line.text.replace(/\n$/, '')}`),
    ...(first.text.endsWith('\n') === second.text.endsWith('\n') ? [] : ['\\ only one of them ends with a newline']),
  ];
  printValue(new TextEncoder().encode(`${shown.join('\n')}\n`), 'the difference', 'Use a pipe, or --json');
}

/** The version that is given, or the one before the newest, and the newest. */
async function versionsOf(cardea: Client, address: string): Promise<[from: string, to: string]> {
  const { vault, name, version } = parseAddress(address);
  const readable: number[] = [];
  for await (const { version, state } of cardea.secrets.versions({ vault, name })) {
    if (['current', 'superseded'].includes(state)) readable.push(version);
    if (readable.length === 2) break;
  }
  const [newest, previous] = readable;
  const from = version ?? previous;
  if (newest === undefined || from === undefined) throw usage(`${address} has no other version that can be read`);
  return [formatAddress({ vault, name, version: from }), formatAddress({ vault, name, version: newest })];
}

async function read(cardea: Client, address: string): Promise<{ address: string; text: string }> {
  const { vault } = parseAddress(address);
  const secret = await cardea.secrets.get(address);
  const text = asText(bytesOf(secret));
  if (typeof text !== 'string') throw usage(`${address} holds bytes that are no text, so it has no lines`);
  return { address: formatAddress({ vault, name: secret.name, version: secret.version }), text };
}

function linesOf(first: string, second: string): Line[] {
  return diffLines(first, second).flatMap(({ value, added, removed }) => {
    const where = added ? 'second' : removed ? 'first' : 'both';
    return value.split(/(?<=\n)/).map((text) => ({ in: where, text }));
  });
}
