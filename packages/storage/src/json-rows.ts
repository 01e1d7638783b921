import type { Db } from './db.ts';

/**
 * The rows of a JSON array of arrays in the parameter `$n`, as a table for a `from` clause. Its column `value` is one
 * array; `value ->> 0` is the first element of it as a text. Cast a number: `cast(value ->> 1 as bigint)`. So one
 * statement works on a page of rows, however many they are.
 */
export function jsonRows(engine: Db['engine'], parameter: `$${number}`): string {
  return engine === 'sqlite'
    ? `json_each(${parameter}) as page`
    : `json_array_elements(${parameter}::json) as page (value)`;
}
