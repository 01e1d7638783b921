import { reportFailure } from './failure.ts';
import { buildProgram } from './program.ts';

// `cardea ls | head` is no failure: the reader has what it wanted.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

const program = buildProgram();
try {
  await program.parseAsync(process.argv);
} catch (error) {
  process.exitCode = reportFailure(error, { verbose: program.opts<{ verbose?: boolean }>().verbose === true });
}
