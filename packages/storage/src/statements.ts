import type { Db } from './db.ts';

// What a `;` may hide in: 'text', "name", $tag$ body $tag$, comments.
const TOKEN = /'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\w*)\$[^]*?\$\1\$|--[^\n]*|\/\*[^]*?\*\/|;|[^'"$;/-]+|[^]/g;

const SQLITE_TYPES: Record<string, string> = { bytea: 'blob', bigint: 'integer' };

/**
 * The statements of a migration, without comments, for the engine that shall run them. Migrations are written for
 * PostgreSQL; for SQLite `bytea` becomes `blob`, `bigint` becomes `integer`, `collate "C"` (compare bytes) becomes
 * `collate binary`, and tables become strict. A body of a SQLite trigger keeps its semicolons.
 */
export function splitStatements(sql: string, engine: Db['engine']): string[] {
  const statements: string[] = [];
  let current = '';
  for (const [token] of sql.matchAll(TOKEN)) {
    if (token !== ';') current += withoutComment(engine === 'sqlite' ? withSqliteTypes(token) : token);
    else if (engine === 'sqlite' && isOpenTrigger(current)) current += token;
    else {
      statements.push(current.trim());
      current = '';
    }
  }
  const all = [...statements, current.trim()].filter((statement) => statement !== '');
  return engine === 'sqlite' ? all.map(strict) : all;
}

function withoutComment(token: string): string {
  return token.startsWith('--') || token.startsWith('/*') ? ' ' : token;
}

function withSqliteTypes(token: string): string {
  if (token === '"C"') return 'binary';
  if (/^['"$]/.test(token)) return token;
  return token.replace(/\b(bytea|bigint)\b/gi, (word) => SQLITE_TYPES[word.toLowerCase()] ?? word);
}

/** A trigger ends with `; end`; a `case … end` inside it does not end it. */
function isOpenTrigger(statement: string): boolean {
  return /^\s*create\s+(temp\s+|temporary\s+)?trigger\b/i.test(statement) && !/;\s*end\s*$/i.test(statement);
}

function strict(statement: string): string {
  if (!/^create\s+table\b/i.test(statement)) return statement;
  return statement.endsWith(')') ? `${statement} strict` : `${statement}, strict`;
}
