import type { Logger } from '@cardea/process/logger';

export interface LogLine {
  level: string;
  message: string;
  fields: Record<string, unknown>;
}

/** A logger that keeps its lines. */
export function createRecordingLogger(): Logger & { lines: LogLine[] } {
  const lines: LogLine[] = [];
  const at = (level: string) => (message: string, fields?: Record<string, unknown>) =>
    void lines.push({ level, message, fields: { ...fields } });
  const logger = { lines, error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug') };
  return logger as unknown as Logger & { lines: LogLine[] };
}
