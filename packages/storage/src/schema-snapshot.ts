import type { Db } from './db.ts';

interface SnapshotLine {
  section: string;
  line: string;
}

// NOT NULL is part of the column's line. Only PostgreSQL 18 and later also list it as a constraint (contype n).
const POSTGRES_LINES = `
  select 'table ' || c.relname as section,
         '  ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
           || coalesce(' collate ' || k.collname, '')
           || case when a.attnotnull then ' not null' else '' end
           || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '') as line
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
    left join pg_collation k on k.oid = a.attcollation and k.collname <> 'default'
   where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p')
  union all
  select 'table ' || r.relname, '  constraint ' || o.conname || ' ' || pg_get_constraintdef(o.oid)
    from pg_constraint o
    join pg_class r on r.oid = o.conrelid
   where r.relnamespace = current_schema()::regnamespace and o.contype <> 'n'
  union all
  select 'table ' || i.tablename, '  ' || i.indexdef
    from pg_indexes i
   where i.schemaname = current_schema()
  union all
  select 'table ' || r.relname, '  ' || pg_get_triggerdef(t.oid)
    from pg_trigger t
    join pg_class r on r.oid = t.tgrelid
   where r.relnamespace = current_schema()::regnamespace and not t.tgisinternal
  union all
  select 'view ' || v.viewname, '  ' || v.definition
    from pg_views v
   where v.schemaname = current_schema()
  union all
  select 'function ' || p.proname, '  ' || pg_get_functiondef(p.oid)
    from pg_proc p
   where p.pronamespace = current_schema()::regnamespace and p.prokind in ('f', 'p')`;

// SQLite keeps the text of `create table`, which holds the columns, types, nullability and constraints.
const SQLITE_LINES = `
  select 'table ' || tbl_name as section, '  ' || sql as line
    from sqlite_schema
   where sql is not null
     and name not like 'sqlite\\_%' escape '\\'`;

/**
 * Describes tables, columns, types, nullability, defaults, constraints, indexes, triggers, views and functions as text
 * that is the same for the same schema: sections and lines are sorted, and white space is single. The text is committed
 * to the repository, and a check compares it with the schema.
 */
export async function dumpSchema(db: Db): Promise<string> {
  const rows = await db.query<SnapshotLine>(db.engine === 'sqlite' ? SQLITE_LINES : POSTGRES_LINES);
  const sections = new Map<string, string[]>();
  for (const { section, line } of rows) {
    sections.set(section, [...(sections.get(section) ?? []), `  ${line.trim().replace(/\s+/g, ' ')}`]);
  }
  const sorted = [...sections].sort(([a], [b]) => compare(a, b));
  return sorted.map(([section, lines]) => `${section}\n${lines.sort(compare).join('\n')}\n`).join('\n');
}

/** Compares by code unit, so that no locale changes the order. */
function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
