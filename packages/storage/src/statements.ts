import type { Db } from './db.ts';

// A `;` inside one of these does not end a statement: 'text', "name", $tag$ body $tag$, comments.
const TOKEN = /'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\w*)\$[^]*?\$\1\$|--[^\n]*|\/\*[^]*?\*\/|;|[^'"$;/-]+|[^]/g;

const SQLITE_TYPES: Record<string, string> = { bytea: 'blob', bigint: 'integer' };

/**
 * Returns the statements of a migration for one engine, without comments. Migrations are written for PostgreSQL. For
 * SQLite `bytea` becomes `blob`, `bigint` becomes `integer`, `collate "C"` (compare bytes) becomes `collate binary`,
 * and tables become strict. The body of a SQLite trigger keeps its semicolons.
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

/** A trigger ends with `; end`. A `case … end` inside the trigger does not end it. */
function isOpenTrigger(statement: string): boolean {
  return /^\s*create\s+(temp\s+|temporary\s+)?trigger\b/i.test(statement) && !/;\s*end\s*$/i.test(statement);
}

function strict(statement: string): string {
  if (!/^create\s+table\b/i.test(statement)) return statement;
  return statement.endsWith(')') ? `${statement} strict` : `${statement}, strict`;
}
