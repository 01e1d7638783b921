import type { Command } from 'commander';
import { act, describe, several } from '../../command.ts';
import type { Context } from '../../command.ts';
import { usage } from '../../failure.ts';
import { readValue } from '../../input.ts';

/** The options of what makes a version. */
export interface WriteOptions {
  meta?: string[];
  ttl?: number;
  expiresAt?: string;
  maxVersions?: number;
  ifVersion?: number;
  ifNew?: boolean;
}

interface PutOptions extends WriteOptions {
  file?: string;
  trim?: boolean;
  contentType?: string;
}

/** Writing values. */
export function addWrite(program: Command, secret: Command): void {
  for (const command of [secret.command('put'), program.command('put')]) {
    const isShort = command.parent === program;
    act(
      describe(
        withWriteOptions(
          command
            .argument('<address>')
            .option('--file <file>', 'the value is in a file; - is stdin')
            .option('--trim', 'leave out the newline at the end of the value')
            .option('--content-type <type>', 'what the value is, such as application/json'),
        ),
        'Store a value as the newest version: from a prompt, a pipe or a file, never from the arguments.',
        isShort
          ? ['printf %s hunter2 | cardea put payments/db/password']
          : [
              'printf %s hunter2 | cardea secret put payments/db/password',
              'echo hunter3 | cardea secret put payments/db/password --trim --meta owner=ann --ttl 86400',
              'cardea secret put payments/tls/key --file server.key --content-type application/pkcs8',
            ],
      ),
      putSecret,
    );
  }
}

/** The options that `put` and `generate` share. */
export function withWriteOptions(command: Command): Command {
  return command
    .option('--meta <key=value>', 'metadata, which is not secret; replaces all that there is', several)
    .option('--ttl <seconds>', 'expires after so many seconds', Number)
    .option('--expires-at <time>', 'expires at a time like 2027-01-31T00:00:00Z')
    .option('--max-versions <count>', 'how many versions are kept', Number)
    .option('--if-version <version>', 'only if this is the newest version', Number)
    .option('--if-new', 'only if there is no secret of this name');
}

/** The options as the client takes them. */
export function toWrite({ meta, ttl, expiresAt, maxVersions, ifVersion, ifNew }: WriteOptions) {
  return {
    ...(meta === undefined ? {} : { metadata: Object.fromEntries(meta.map(toPair)) }),
    ...(ttl === undefined ? {} : { ttlSeconds: ttl }),
    ...(expiresAt === undefined ? {} : { expiresAt }),
    ...(maxVersions === undefined ? {} : { maxVersions }),
    ifMatch: ifVersion,
    ifNew,
  };
}

/** `owner=ann` as a key and a value. */
export function toPair(text: string): [key: string, value: string] {
  const at = text.indexOf('=');
  if (at < 1) throw usage(`"${text}" is not like key=value`);
  return [text.slice(0, at), text.slice(at + 1)];
}

/** What a write says. */
export function written(
  output: Context['output'],
  address: string,
  outcome: { version: number; changed: boolean },
): void {
  const [place] = address.split('@');
  output.done(`${place} version ${outcome.version}${outcome.changed ? '' : ' (unchanged)'}`, outcome);
}

async function putSecret({ cardea, output }: Context, address: string, options: PutOptions): Promise<void> {
  const { contentType } = options;
  const value = await readValue(options);
  const type = contentType === undefined ? {} : { contentType };
  written(output, address, await cardea.secrets.put(address, value, { ...toWrite(options), ...type }));
}
