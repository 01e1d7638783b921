import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';

/**
 * The lines that an operator types, or that come from the standard input, without empty ones. A terminal shows the
 * next question before each line, the last one again and again, and nothing of what is typed. Ctrl-D ends the input, and
 * Ctrl-C the process.
 */
export async function* readTyped(...questions: [string, ...string[]]): AsyncGenerator<string> {
  const { stdin, stderr } = process;
  let asked = 0;
  const ask = () => stdin.isTTY && stderr.write(questions[asked] ?? questions.at(-1)!);
  // Readline echoes to its output, so it gets one that shows nothing.
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: stdin, output: nowhere, terminal: stdin.isTTY ?? false, historySize: 0 });
  lines.on('SIGINT', () => {
    stderr.write('\n');
    process.exit(130);
  });
  try {
    ask();
    for await (const line of lines) {
      if (stdin.isTTY) stderr.write('\n');
      if (line.trim() !== '') {
        asked += 1;
        yield line;
      }
      ask();
    }
  } finally {
    lines.close();
  }
}
