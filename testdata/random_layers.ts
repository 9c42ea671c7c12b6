/**
 * Random stacks of layers that umoci 0.4.7 can unpack: files, directories, links of both kinds (also to and
 * through lower layers), whiteouts, opaque directories, type changes, extended attributes, owners, times, names
 * of any bytes, duplicates, parents reached through symbolic links.
 *
 * Left out, because umoci departs from the specification or fails there (each has a test of its own in
 * lib/image/merge_test.ts): hard links to what comes later, entries below something that is no directory,
 * names that begin with ".wh.", whiteouts of a directory below which the same layer makes something (umoci leaves
 * the directories on the way with the present time), members below a directory that the same layer whites out first without an entry
 * for the directory (its time would be that of the unpacking).
 *
 * @module
 */
import type { TarItem } from "./make_tar.ts";

const NAMES = [
  "a",
  "b",
  "c",
  "opt",
  "usr",
  "lib",
  "\xc3\xa9t\xc3\xa9",
  "\xff\xfe",
  "sp ace",
  "n\nl",
  "q'\"\\",
  "x".repeat(120),
];
const PREFIXES = ["", "./", "/", ".//"];

/** A layer stack; the same numbers give the same stack. */
export function randomLayers(seed: number, layerCount: number, itemsPerLayer: number): TarItem[][] {
  const random = mulberry32(seed);
  const below = (limit: number) => Math.floor(random() * limit);
  const oneOf = <T>(values: readonly T[]) => values[below(values.length)]!;
  /** Real path -> what is there: "d", "f" or another leaf, "l:TARGET" for a link to a directory. */
  const tree = new Map<string, string>([["", "d"]]);
  const remove = (path: string) => {
    for (const known of [...tree.keys()]) {
      if (known === path || known.startsWith(`${path}/`)) tree.delete(known);
    }
  };
  const meta = () => ({
    mode: oneOf([0o644, 0o755, 0o600, 0o4755, 0o2775, 0o1777, 0]),
    uid: oneOf([0, 1000, 65534, 2097152, 4294967294]),
    gid: oneOf([0, 5, 100000]),
    mtime: oneOf([0, 1, 1_600_000_000, 1_700_000_001, 4_000_000_000]),
  });
  const large = (item: TarItem): TarItem => {
    // What does not fit into octal goes into PAX records.
    if ((item.uid ?? 0) <= 0o7777777) return item;
    return { ...item, uid: 0, pax: [["uid", String(item.uid)]] };
  };
  const xattrs = (): { xattrs?: Record<string, string> } =>
    below(4) > 0 ? {} : {
      xattrs: {
        [oneOf(["user.note", "trusted.x", "user.\xc3\xa9"])]: oneOf(["1", "\0\xff\n", "v".repeat(300)]),
      },
    };

  const layers: TarItem[][] = [];
  for (let layer = 0; layer < layerCount; layer++) {
    const items: TarItem[] = [];
    /** Real paths of what this layer makes. */
    const reals: string[] = [];
    // Real path and a way to write it, perhaps through a link.
    const place = (): { real: string; written: string } => {
      const directories = [...tree].filter(([, what]) => what === "d" || what.startsWith("l:"));
      const [path, what] = oneOf(directories);
      const name = oneOf(NAMES);
      const parent = what === "d" ? path : what.slice(2);
      if (tree.get(parent) !== "d") return place();
      const join = (directory: string) => directory === "" ? name : `${directory}/${name}`;
      return { real: join(parent), written: oneOf(PREFIXES) + join(path) };
    };
    for (let count = 0; count < itemsPerLayer; count++) {
      const { real, written } = place();
      const there = tree.get(real);
      const directory = written.slice(0, written.lastIndexOf("/") + 1);
      const name = real.slice(real.lastIndexOf("/") + 1);
      const before = items.length;
      switch (below(12)) {
        case 0:
        case 1:
        case 2:
          if (there !== "d") remove(real);
          tree.set(real, "d");
          items.push(large({ name: written + oneOf(["", "/"]), type: "5", ...meta(), ...xattrs() }));
          break;
        case 3:
        case 4:
        case 5:
          remove(real);
          tree.set(real, "f");
          items.push(large({
            name: written,
            data: oneOf(["", "hello", "x".repeat(511), "y".repeat(512), "z".repeat(150_000)]) +
              oneOf(["", String(count)]),
            ...meta(),
            ...xattrs(),
          }));
          break;
        case 6: {
          remove(real);
          const targets = [...tree].filter(([path, what]) => what === "d" && path !== "").map(([path]) =>
            path
          );
          const target = targets.length > 0 && below(3) > 0 ? oneOf(targets) : undefined;
          tree.set(real, target === undefined ? "s" : `l:${target}`);
          const link = target === undefined
            ? oneOf(["nowhere", "/a", "../../../..", "t".repeat(150)])
            : `/${target}`;
          items.push({ name: written, type: "2", link, ...meta(), uid: 0, mode: 0o777 });
          break;
        }
        case 7:
        case 8: {
          const targets = [...tree].filter(([path, what]) =>
            what === "f" && path !== real && !path.startsWith(`${real}/`)
          );
          if (targets.length === 0) break;
          const [target] = oneOf(targets);
          remove(real);
          tree.set(real, "f");
          items.push({ name: written, type: "1", link: oneOf(["", "/", "./"]) + target });
          break;
        }
        case 9:
          remove(real);
          tree.set(real, "n");
          items.push(
            large({
              name: written,
              type: oneOf(["6", "3", "4"]),
              major: below(300),
              minor: below(300),
              ...meta(),
            }),
          );
          break;
        case 10: {
          const made = reals.some((path) => path === real || path.startsWith(`${real}/`));
          if (there === undefined || made || whitedOutNow(items, real)) break;
          remove(real);
          items.push({ name: `${directory}.wh.${name}` });
          break;
        }
        default: {
          // Opaque: only in a directory that this layer describes, as the specification's examples have it.
          const parent = real.slice(0, Math.max(real.lastIndexOf("/"), 0));
          if (parent === "" || items.length > 0) break;
          for (const known of [...tree.keys()]) if (known.startsWith(`${parent}/`)) tree.delete(known);
          items.push(large({ name: parent, type: "5", ...meta() }), { name: `${parent}/.wh..wh..opq` });
        }
      }
      if (items.length > before) reals.push(real);
    }
    layers.push(items);
  }
  return layers;
}

function whitedOutNow(items: readonly TarItem[], real: string): boolean {
  return items.some(({ name }) => name.endsWith(`.wh.${real.slice(real.lastIndexOf("/") + 1)}`));
}

/** A small generator of numbers from 0 to 1, the same ones for the same seed. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = state + 0x6d2b79f5 >>> 0;
    let mixed = Math.imul(state ^ state >>> 15, state | 1);
    mixed ^= mixed + Math.imul(mixed ^ mixed >>> 7, mixed | 61);
    return ((mixed ^ mixed >>> 14) >>> 0) / 4294967296;
  };
}
