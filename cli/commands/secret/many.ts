import type { Command } from 'commander';
import { act, describe, several } from '../../command.ts';
import { usage } from '../../failure.ts';
import { readInput } from '../../input.ts';
import { printValue } from '../../print-value.ts';
import { toPair } from './write.ts';

const FORMATS = ['dotenv', 'json', 'yaml'] as const;

type Format = (typeof FORMATS)[number];

/** Finding secrets in all vaults, and whole documents of them. */
export function addMany(secret: Command): void {
  act(
    describe(
      secret
        .command('search')
        .argument('[words]', 'beginnings of words of the name')
        .option('--meta <key=value>', 'metadata that it must have', several),
      'Search in every vault that you may list.',
      ['cardea secret search "db pass"', 'cardea secret search --meta owner=ann --json'],
    ),
    async ({ cardea, output }, q: string | undefined, { meta = [] }: { meta?: string[] }) => {
      const metadata = Object.fromEntries(meta.map(toPair));
      await output.table(cardea.secrets.search({ q, metadata, limit: 500 }), {
        address: ({ vault, name }) => `${vault}/${name}`,
        version: ({ version }) => version,
        changed: ({ updatedAt }) => updatedAt,
        metadata: ({ metadata }) => metadata,
      });
    },
  );

  act(
    describe(
      secret
        .command('import')
        .argument('<vault>')
        .argument('[file]', 'stdin if it is not given', '-')
        .requiredOption('--format <format>', FORMATS.join(', '))
        .option('--prefix <prefix>', 'goes before every name')
        .option('--dry-run', 'say what an import would do'),
      'Write the secrets of a document, all or nothing.',
      [
        'cardea secret import payments app.env --format dotenv --prefix app --dry-run',
        "printf 'A=1\\n' | cardea secret import payments --format dotenv",
      ],
    ),
    async (
      { cardea, output },
      vault: string,
      file: string,
      options: { format: string; prefix?: string; dryRun?: boolean },
    ) => {
      const content = Buffer.from(await readInput(file)).toString('utf8');
      const { prefix, dryRun = false } = options;
      const document = {
        format: toFormat(options.format),
        content,
        dryRun,
        ...(prefix === undefined ? {} : { prefix }),
      };
      const { items } = await cardea.secrets.import(vault, document);
      await output.table(items, {
        name: ({ name }) => name,
        result: ({ result }) => result,
        version: ({ version }) => version,
        reason: ({ reason }) => reason,
      });
    },
  );

  act(
    describe(
      secret
        .command('export')
        .argument('<vault>')
        .requiredOption('--format <format>', FORMATS.join(', '))
        .option('--prefix <prefix>', 'only those under a prefix, which is left out of the names'),
      'Print the newest values of a vault or of a prefix as one document.',
      ['cardea secret export payments --prefix prod --format json'],
    ),
    async ({ cardea, output, json }, vault: string, options: { format: string; prefix?: string }) => {
      const { prefix } = options;
      const what = { format: toFormat(options.format), ...(prefix === undefined ? {} : { prefix }) };
      const document = await cardea.secrets.export(vault, what);
      if (json) output.object(document);
      else printValue(Buffer.from(document.content), `the export of ${vault}`, 'Use a pipe or --json');
    },
  );
}

function toFormat(format: string): Format {
  const known = FORMATS.find((name) => name === format);
  if (known === undefined) throw usage(`--format is ${FORMATS.join(', ')}`);
  return known;
}
