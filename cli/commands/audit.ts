import { createWriteStream, openSync, rmSync } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import type { Client } from '@cardea/client';
import { act, describe } from '../command.ts';
import { usage } from '../failure.ts';
import type { Columns } from '../output.ts';
import { printValue } from '../print-value.ts';

type Filters = NonNullable<Parameters<Client['audit']['entries']>[0]>;
type Entry = ReturnType<Client['audit']['entries']> extends AsyncIterable<infer Item> ? Item : never;

interface FilterOptions {
  actor?: string;
  action?: string;
  vault?: string;
  name?: string;
  key?: string;
  decision?: string;
  suspicious?: string;
  requestId?: string;
}

interface QueryOptions extends FilterOptions {
  from?: string;
  to?: string;
  limit: number;
}

interface TailOptions extends FilterOptions {
  after?: number;
  limit?: number;
}

interface Range {
  from?: string;
  to?: string;
  fromSeq?: number;
  toSeq?: number;
}

/** The audit log: all of it for admins and ceos, the entries of their vaults for owners. */
export function addAudit(program: Command): void {
  const audit = program.command('audit').description('The audit log: who did what.');

  act(
    describe(
      withFilters(audit.command('query'))
        .option('--from <time>', 'not before a time like 2027-01-31T00:00:00Z')
        .option('--to <time>', 'before a time')
        .option('--limit <count>', 'how many entries; 0 for all', Number, 50),
      'List entries, the newest first.',
      ['cardea audit query', 'cardea audit query --vault payments --action secret.read --limit 5 --json'],
    ),
    async ({ cardea, output }, { limit, ...filters }: QueryOptions) => {
      if (!Number.isInteger(limit) || limit < 0) throw usage('--limit is a whole number');
      const page = limit === 0 ? 500 : Math.min(limit, 500);
      const entries = cardea.audit.entries({ ...(filters as Filters), limit: page });
      await output.table(limit === 0 ? entries : firstOf(entries, limit), columns);
    },
  );

  act(
    describe(
      withFilters(audit.command('tail'))
        .option('--after <number>', 'begin behind this entry; with what comes now if it is not given', Number)
        .option('--limit <count>', 'stop after so many entries', Number),
      'Print each entry soon after it is written, until Ctrl-C. Each look at the log is an entry too.',
      ['cardea audit tail --action vault.create --after 0 --limit 1', 'cardea audit tail --after 0 --limit 3 --json'],
    ),
    async ({ cardea, output, json }, { limit, after, ...filters }: TailOptions) => {
      for (const [flag, number] of Object.entries({ limit, after })) {
        if (number !== undefined && !(Number.isInteger(number) && number >= 0))
          throw usage(`--${flag} is a whole number`);
      }
      const entries = cardea.audit.follow({ ...(filters as Filters), ...(after === undefined ? {} : { after }) });
      for await (const entry of limit === undefined ? entries : firstOf(entries, limit)) {
        if (json) output.object(entry);
        else output.done(sentenceOf(entry));
      }
    },
  );

  act(
    describe(
      audit.command('checkpoint'),
      'Print the newest signed checkpoint. Keep it elsewhere: an export must fit it later.',
      ['cardea audit checkpoint >checkpoint.txt'],
    ),
    async ({ cardea, output, json }) => {
      const checkpoint = await cardea.audit.checkpoint();
      if (json) output.object({ checkpoint });
      else printValue(new TextEncoder().encode(checkpoint), 'the checkpoint', 'Use a pipe, or --json');
    },
  );

  act(
    describe(
      audit
        .command('export')
        .argument('<file>', 'a new file of mode 0600')
        .option('--from <time>', 'not before a time or a date like 2027-01-31')
        .option('--to <time>', 'before a time or a date')
        .option('--from-seq <number>', 'the first entry', Number)
        .option('--to-seq <number>', 'the entry after the last', Number),
      'Write the log, or a part of it, into a tar that the verifier checks.',
      ['cardea audit export audit.tar', 'cardea audit export --from 2026-01-01 year.tar'],
    ),
    async ({ cardea, output }, file: string, range: Range) => {
      await writeNew(file, () => cardea.audit.export(range));
      output.done(`The log is in ${file}. Check it with the verifier: docs/audit-verification.md`);
    },
  );

  act(
    describe(
      audit.command('state').argument('<file>', 'a new file of mode 0600'),
      'Write what the database says of accounts, vaults, grants, secrets and keys. The verifier compares it with a later export.',
      ['cardea audit state state.jsonl'],
    ),
    async ({ cardea, output }, file: string) => {
      await writeNew(file, () => cardea.audit.state());
      output.done(`The state of the database is in ${file}. Now export the log: docs/audit-verification.md`);
    },
  );
}

/** The options that choose entries. */
function withFilters(command: Command): Command {
  return command
    .option('--actor <name>', 'who did it: a name, an id, user:alice or application:ci')
    .option('--action <action>', 'such as secret.read')
    .option('--vault <vault>', 'its name or its id')
    .option('--name <name>', 'the secret, or what else was acted upon')
    .option('--key <key>')
    .option('--suspicious <rule>', 'the rule that was tripped, or any')
    .option('--request-id <id>')
    .option('--decision <decision>', 'allow or deny');
}

/** Opens the file first: nobody's file is replaced, and an export is recorded only if there is a place for it. */
async function writeNew(file: string, open: () => ReturnType<Client['audit']['export']>): Promise<void> {
  const handle = openSync(file, 'wx', 0o600);
  try {
    await pipeline(Readable.fromWeb(await open()), createWriteStream(file, { fd: handle }));
  } catch (error) {
    // A part of an export would look like one, and stand in the way of the next try.
    rmSync(file, { force: true });
    throw error;
  }
}

async function* firstOf<Item>(items: AsyncIterable<Item>, count: number): AsyncGenerator<Item> {
  let left = count;
  if (left === 0) return;
  for await (const item of items) {
    yield item;
    left -= 1;
    if (left === 0) return;
  }
}

/** One line, as it comes: a table would have to know how wide the entries will be. */
function sentenceOf({ seq, event }: Entry): string {
  const { ts, actor, action, decision, rule, resource, source } = event;
  const outcome = decision === 'allow' ? 'allowed' : 'refused';
  const by = rule === undefined ? outcome : `${outcome} by ${rule}`;
  const from = source?.ip === undefined ? '' : `from ${source.ip}`;
  return [seq, ts, actor.name ?? actor.id, action, placeOf(resource), by, from]
    .filter((part) => part !== '')
    .join('  ');
}

const columns: Columns<Entry> = {
  seq: ({ seq }) => seq,
  time: ({ event }) => event.ts,
  who: ({ event }) => event.actor.name ?? event.actor.id,
  action: ({ event }) => event.action,
  decision: ({ event }) => event.decision,
  rule: ({ event }) => event.rule,
  on: ({ event: { resource } }) => placeOf(resource),
  from: ({ event }) => event.source?.ip,
};

function placeOf(resource: Entry['event']['resource']): string {
  const { vault, name, version, user, application } = resource ?? {};
  const place = [vault, name].filter((part) => part !== undefined).join('/');
  const exact = version === undefined ? place : `${place}@${version}`;
  return [exact, user, application].filter((part) => part !== undefined && part !== '').join(' ');
}
