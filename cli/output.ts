/** Where and how a command shows its result. */
export interface Output {
  /** One object: as lines `name  value`, or as JSON. */
  object(value: object, shown?: Record<string, unknown>): void;
  /** Items: as a table under these columns, or as one line of JSON each. */
  table<Item extends object>(items: AsyncIterable<Item> | Iterable<Item>, columns: Columns<Item>): Promise<void>;
  /** A sentence for people. With `--json` the value is printed instead. */
  done(sentence: string, value?: object): void;
}

/** The columns of a table: a header and what it shows of an item. */
export type Columns<Item> = Record<string, (item: Item) => unknown>;

/** How many rows a table measures before it prints them: a long list begins to show early. */
const ROWS_AT_ONCE = 500;

export function createOutput({ json }: { json: boolean }): Output {
  if (json) {
    return {
      object: (value) => line(toJson(value)),
      async table(items) {
        for await (const item of items) line(toJson(item));
      },
      done(_sentence, value) {
        if (value) line(toJson(value));
      },
    };
  }
  return {
    object(value, shown = value as Record<string, unknown>) {
      const rows = Object.entries(shown).filter(([, field]) => field !== undefined);
      const width = Math.max(...rows.map(([name]) => name.length));
      for (const [name, field] of rows) line(`${name.padEnd(width)}  ${cell(field)}`);
    },
    async table(items, columns) {
      let rows: string[][] = [Object.keys(columns).map((header) => header.toUpperCase())];
      for await (const item of items) {
        rows.push(Object.values(columns).map((show) => cell(show(item))));
        if (rows.length < ROWS_AT_ONCE) continue;
        print(rows);
        rows = [];
      }
      print(rows);
    },
    done: (sentence) => line(printable(sentence)),
  };
}

function print(rows: string[][]): void {
  const widths = (rows[0] ?? []).map((_header, at) => Math.max(...rows.map((row) => row[at]!.length)));
  for (const row of rows)
    line(
      row
        .map((text, at) => text.padEnd(widths[at]!))
        .join('  ')
        .trimEnd(),
    );
}

/** A value in one line of a terminal, without characters that would move its cursor or change its colours. */
function cell(value: unknown): string {
  if (value === undefined || value === null) return '';
  if (Array.isArray(value)) return value.map(cell).join(' ');
  if (typeof value === 'object') {
    return Object.entries(value)
      .map(([name, field]) => `${name}=${cell(field)}`)
      .join(' ');
  }
  return printable(typeof value === 'string' ? value : JSON.stringify(value));
}

/** Control characters, and those that change the direction of text. */
const COMMANDS = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

/** Replaces characters that a terminal would obey: somebody else has written the text. */
export function printable(text: string): string {
  return text.replaceAll(COMMANDS, '\ufffd');
}

/** JSON that says the same, and that a terminal does not obey. JSON itself escapes only some control characters. */
function toJson(value: object): string {
  return JSON.stringify(value).replaceAll(
    COMMANDS,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function line(text: string): void {
  process.stdout.write(`${text}\n`);
}
