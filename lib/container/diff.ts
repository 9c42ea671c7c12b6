/**
 * What differs between two canonical specs, field by field.
 *
 * @module
 */

/** One field; `undefined` where it is not set. Values that are only kept as hashes are not shown. */
export interface FieldDifference {
  /** Such as `image` or `env.NCCL_DEBUG`. */
  readonly field: string;
  /** In the container, as JSON. */
  readonly was: string | undefined;
  /** In the spec. */
  readonly is: string | undefined;
}

const HASHED_REGEXP = /"sha256:([0-9a-f]{64})"/g;

/** `was` and `is` are canonical specs; one that is empty or unreadable leaves one difference of the whole. */
export function diffSpecs(was: string, is: string): FieldDifference[] {
  if (was === is) return [];
  const [before, after] = [parsed(was), parsed(is)];
  if (before === undefined || after === undefined) {
    return [{ field: "spec", was: "(too long to be kept)", is: "(differs)" }];
  }
  const found: FieldDifference[] = [];
  for (const field of union(before, after)) {
    if (field === "env") {
      const [old, now] = [asRecord(before.env), asRecord(after.env)];
      for (const name of union(old, now)) add(found, `env.${name}`, old[name], now[name]);
    } else add(found, field, before[field], after[field]);
  }
  return found;
}

function add(found: FieldDifference[], field: string, was: unknown, is: unknown): void {
  const [before, after] = [JSON.stringify(was), JSON.stringify(is)] as (string | undefined)[];
  if (before === after) return;
  // Both a secret: that they differ is all that is said. A script's hash is no secret, and helps to find it.
  const shown = (json: string | undefined) =>
    json?.replace(
      HASHED_REGEXP,
      (_, hash: string) => field === "setup" ? `"sha256:${hash.slice(0, 12)}"` : "(not shown)",
    );
  found.push({ field, was: shown(before), is: shown(after) });
}

function parsed(json: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? asRecord(value) : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined; // "" or a label that somebody cut
    throw error;
  }
}

function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? value as Record<string, unknown> : {};
}

function union(a: Record<string, unknown>, b: Record<string, unknown>): string[] {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])];
}
