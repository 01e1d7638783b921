import type { Command } from 'commander';
import { CardeaError, bytesOf, parseAddress } from '@cardea/client';
import { act, describe } from '../../command.ts';
import type { Context } from '../../command.ts';
import { Failure, usage } from '../../failure.ts';
import { asText } from '../../input.ts';
import { editText } from './edit/editor.ts';
import { written } from './write.ts';

/** As the contract has it: a value that names another secret. */
const REFERENCE_TYPE = 'application/vnd.cardea.reference+json';

/** Changes a value in an editor. */
export function addEdit(secret: Command): void {
  act(
    describe(
      secret.command('edit').argument('<address>'),
      'Change the newest value in $VISUAL or $EDITOR, in a file that is only in memory. A secret that does not exist ' +
        'begins empty. A newline that the editor adds at the end is left out, if the value had none. Nothing is ' +
        'written if somebody else has changed the secret meanwhile, or if the editor ends with an error.',
      ["EDITOR='sed -i s/hunter2/hunter3/' cardea secret edit payments/db/password"],
    ),
    editSecret,
  );
}

async function editSecret({ cardea, output }: Context, address: string): Promise<void> {
  if (parseAddress(address).version !== undefined) throw usage('the newest version is edited: leave out the @');
  const before = await readText(cardea, address);
  await editText(before?.text ?? '', async (edited) => {
    const text = withoutNewline(edited, before?.text);
    if (text === (before?.text ?? '')) return output.done(`${address} is unchanged.`, { changed: false });
    const condition = before === undefined ? { ifNew: true } : { ifMatch: before.version };
    const type = before?.contentType === undefined ? {} : { contentType: before.contentType };
    written(output, address, await cardea.secrets.put(address, text, { ...condition, ...type }));
  });
}

async function readText(cardea: Context['cardea'], address: string) {
  try {
    const secret = await cardea.secrets.get(address, { resolve: false });
    if (secret.contentType === REFERENCE_TYPE) throw usage(`${address} is a reference: edit the secret that it names`);
    const text = asText(bytesOf(secret));
    if (typeof text === 'string') return { ...secret, text };
  } catch (error) {
    if (error instanceof CardeaError && error.code === 'not_found') return undefined;
    throw error;
  }
  throw new Failure(`${address} holds bytes that are no text. Use: cardea get --out, and cardea put --file`);
}

/** Editors end the last line of a file, which most values do not. */
function withoutNewline(edited: string, before: string | undefined): string {
  return before?.endsWith('\n') === true ? edited : edited.replace(/\r?\n$/, '');
}
