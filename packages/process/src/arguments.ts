import { StartError } from './config.ts';
import { nearestTo } from './known-variables.ts';

/** With this argument a command only checks its settings: it ends with 0 or 78, and makes nothing. */
export const CHECK_SETTINGS = 'check-settings';

/** What a command understands. Every command understands `--help` and `-h`. */
export interface CommandLine {
  usage: string;
  /** The names of the options, without dashes: with a value after it, or a flag. */
  options?: Record<string, 'value' | 'flag'>;
  /** How many words that are no options it takes. The default is none. */
  wordsMax?: number;
}

/** What somebody typed after the name of a command. */
export interface Arguments {
  /** The options that were said with their values, and the flags with an empty text. */
  said: Record<string, string>;
  words: string[];
  /** What is wrong with them: one clause for each problem. */
  problems: string[];
}

/** Reads the arguments of a command. Where they ask for help, prints the usage and ends the process with 0. */
export function readArguments(args: string[], { usage, options = {}, wordsMax = 0 }: CommandLine): Arguments {
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(`${usage}\n`);
    process.exit(0);
  }
  const said: Record<string, string> = {};
  const words: string[] = [];
  const problems: string[] = [];
  // Package runners put `--` before the arguments of a script, and some of them pass it on.
  const rest = args[0] === '--' ? args.slice(1) : [...args];
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (!arg.startsWith('-') || arg === '-') {
      words.push(arg);
      continue;
    }
    const [, dashes, name = '', attached] = /^(--?)([^=]*)(?:=(.*))?$/s.exec(arg)!;
    const kind = dashes === '--' && Object.hasOwn(options, name) ? options[name] : undefined;
    if (kind === undefined) problems.push(unknownOption(`${dashes}${name}`, Object.keys(options)));
    else if (kind === 'flag') {
      said[name] = '';
      if (attached !== undefined) problems.push(`--${name} takes no value`);
    } else {
      // A value may begin with one dash, as a number below zero does.
      const value = attached ?? (rest[0]?.startsWith('--') ? undefined : rest.shift());
      if (value === undefined) problems.push(`--${name} needs a value after it`);
      said[name] = value ?? '';
    }
  }
  for (const word of words.splice(wordsMax)) problems.push(`"${word}" is not understood here`);
  return { said, words, problems };
}

/** Reads the arguments of a command as `readArguments` does. @throws StartError that names all that is wrong with them */
export function checkedArguments(args: string[], command: CommandLine): Omit<Arguments, 'problems'> {
  const { said, words, problems } = readArguments(args, command);
  if (problems.length > 0) throw new StartError(inWords(problems, command.usage));
  return { said, words };
}

/** What a command says that does not understand its arguments. */
export function inWords(problems: string[], usage: string): string {
  return [...problems, '', usage].join('\n');
}

function unknownOption(option: string, known: string[]): string {
  const nearest = nearestTo(
    option,
    ['help', ...known].map((name) => `--${name}`),
  );
  return `there is no option ${option}, ${nearest} is the nearest one`;
}
