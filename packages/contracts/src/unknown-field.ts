const CHARACTERS_MAX = 40;

/**
 * What is said about a field or parameter that the contract does not know. It continues a sentence that begins with the
 * place. The name comes from a request: it is cut, and what is not printable ASCII is escaped as in JSON.
 */
export function unknownField(name: string): string {
  const letters = Array.from(name);
  const cut = letters.length > CHARACTERS_MAX ? `${letters.slice(0, CHARACTERS_MAX).join('')}...` : name;
  const escaped = JSON.stringify(cut).replaceAll(
    /[^ -~]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return `has a field ${escaped} that is not known here`;
}
