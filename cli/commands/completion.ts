import type { Command } from 'commander';
import { describe } from '../command.ts';
import { usage } from '../failure.ts';

/** What each shell runs to complete a line: it asks this program for the words, which are its commands and options. */
const SCRIPTS = {
  bash: `_cardea() {
  local IFS=$'\\n'
  COMPREPLY=($(compgen -W "$(cardea complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _cardea cardea
`,
  zsh: `#compdef cardea
_cardea() {
  local -a found
  found=("\${(@f)$(cardea complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  compadd -- $found || _files
}
compdef _cardea cardea
`,
  fish: `complete -c cardea -a '(cardea complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
`,
} as const;

/** Completion of command lines by the shell. */
export function addCompletion(program: Command): void {
  describe(
    program.command('completion').argument('<shell>', Object.keys(SCRIPTS).join(', ')),
    'Print what makes a shell complete commands and options.',
    ['cardea completion bash', 'cardea completion zsh', 'cardea completion fish'],
  ).action((shell: string) => {
    const script = Object.entries(SCRIPTS).find(([name]) => name === shell)?.[1];
    if (script === undefined) throw usage(`there is completion for ${Object.keys(SCRIPTS).join(', ')}`);
    process.stdout.write(script);
  });

  describe(
    program.command('complete', { hidden: true }).argument('[words...]', 'the words of the line so far, after --'),
    'Print how the last word of a line can go on, for the shells.',
    ['cardea complete -- secret ge'],
  ).action((words: string[]) => {
    for (const word of completions(program, words)) process.stdout.write(`${word}\n`);
  });
}

/** The commands and options that begin with the last of the words and may follow the others. */
export function completions(program: Command, words: string[]): string[] {
  const last = words.at(-1) ?? '';
  let command = program;
  for (const word of words.slice(0, -1)) command = visible(command).find((below) => below.name() === word) ?? command;
  const names = last.startsWith('-') ? optionsOf(command) : visible(command).map((below) => below.name());
  return names.filter((name) => name.startsWith(last));
}

function optionsOf(command: Command): string[] {
  const own = command.options.filter(({ hidden }) => !hidden).map(({ long, short }) => long ?? short ?? '');
  return command.parent ? [...own, ...optionsOf(command.parent)] : [...own, '--help'];
}

function visible(command: Command): readonly Command[] {
  return command.createHelp().visibleCommands(command);
}
