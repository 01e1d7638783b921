import type { Queryable } from '@cardea/storage/db';

/** Who did something. A deleted account has no name. */
export interface Who {
  type: 'user' | 'application' | 'service';
  id: string;
  name?: string;
}

/** Finds the names that principals (`user:<id>`) have today. */
export async function namesOf(db: Queryable, principals: (string | null)[]): Promise<(principal: string) => Who> {
  const known = new Map<string, Who>();
  for (const principal of new Set(principals)) {
    if (principal !== null) known.set(principal, await findWho(db, principal));
  }
  return (principal) => known.get(principal)!;
}

async function findWho(db: Queryable, principal: string): Promise<Who> {
  const [type, id] = principal.split(':') as [Who['type'], string];
  const name = type === 'service' ? id : await findName(db, type, id);
  return name === undefined ? { type, id } : { type, id, name };
}

async function findName(db: Queryable, type: 'user' | 'application', id: string): Promise<string | undefined> {
  const [row] =
    type === 'user'
      ? await db.query<{ name: string }>(`select username as name from app_user where id = $1`, [id])
      : await db.query<{ name: string }>(`select name from application where id = $1`, [id]);
  return row?.name;
}
