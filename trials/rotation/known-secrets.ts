import { Violation, brief } from '../kill/ledger.ts';

/** A vault as the trial knows it. No two vaults ever have the same name. */
export interface KnownVault {
  readonly name: string;
  readonly secrets: KnownSecret[];
}

/** What one read asked for, and what the trial knew when it was sent. */
export interface AskedRead {
  /** Undefined for the newest version. */
  version: number | undefined;
  /** The newest version that was acknowledged. */
  floor: number;
  changes: number;
}

/**
 * What the trial knows of one secret, through all its moves. Only one client changes it, and waits until it knows the
 * result of each change. So every read that no change overlaps has exactly one right answer.
 */
export class KnownSecret {
  vault: KnownVault;
  name: string;
  /** The values of its versions, the first version first. */
  readonly values: string[] = [];
  isTrashed = false;

  /** Grows when a change begins and when its result is known, so it is odd while a change is under way. */
  #changes = 0;
  #pending: string | undefined;

  constructor(vault: KnownVault, name: string) {
    this.vault = vault;
    this.name = name;
  }

  /** `/vaults/<vault>/secrets/<name>` */
  get path(): string {
    return `/vaults/${this.vault.name}/secrets/${this.name}`;
  }

  /** A change begins. A change that makes a new version gives its value. */
  beginChange(pending?: string): void {
    this.#changes += 1;
    this.#pending = pending;
  }

  endChange(): void {
    this.#changes += 1;
    this.#pending = undefined;
  }

  /** To be called before a read is sent. */
  askFor(version?: number): AskedRead {
    return { version, floor: this.values.length, changes: this.#changes };
  }

  /** @throws Violation unless a read may be answered that the secret does not exist */
  checkMissing(asked: AskedRead): void {
    if (this.#isSure(asked) && !this.isTrashed) throw new Violation(`${this.path} is read as if it did not exist`);
  }

  /** @throws Violation unless this is a right answer to a read */
  checkRead(asked: AskedRead, { version, value }: { version: number; value: string }): void {
    const isSure = this.#isSure(asked);
    if (isSure && this.isTrashed) throw new Violation(`${this.path} is in the trash and is read`);
    const isRightVersion =
      asked.version === undefined
        ? version >= asked.floor && (!isSure || version === asked.floor)
        : version === asked.version;
    if (!isRightVersion) {
      const wanted = asked.version ?? `${asked.floor} or newer`;
      throw new Violation(`${this.path}: a read of version ${wanted} was answered with version ${version}`);
    }
    const isPending = version === this.values.length + 1;
    const right = isPending ? this.#pending : this.values[version - 1];
    if (value === right) return;
    throw new Violation(`${this.path}: version ${version} is ${brief(right ?? 'unknown')} and reads ${brief(value)}`);
  }

  #isSure({ changes }: AskedRead): boolean {
    return changes % 2 === 0 && changes === this.#changes;
  }
}
