/**
 * What Debian says in prose of the packages that the portable file takes files from: the source package, by
 * which security advisories name them, and the licence of the packed files, from
 * /usr/share/doc/PACKAGE/copyright.
 *
 * @module
 */

/** One binary package. */
export interface DebianFacts {
  readonly source: string;
  /** An SPDX expression; absent where the files are in the public domain or there are too many licences. */
  readonly license?: string;
}

const FACTS: Readonly<Record<string, DebianFacts>> = {
  libc6: { source: "glibc", license: "LGPL-2.1-or-later" },
  "libc6-dev": { source: "glibc", license: "LGPL-2.1-or-later" },
  "libc6-dev-arm64-cross": { source: "cross-toolchain-base", license: "LGPL-2.1-or-later" },
  "libgcc-s1": { source: "gcc", license: "GPL-3.0-or-later WITH GCC-exception-3.1" },
  "libstdc++6": { source: "gcc", license: "GPL-3.0-or-later WITH GCC-exception-3.1" },
  "liblz4-1": { source: "lz4", license: "BSD-2-Clause" },
  liblzma5: { source: "xz-utils" },
  "liblzo2-2": { source: "lzo2", license: "GPL-2.0-or-later" },
  "libzstd-dev": { source: "libzstd", license: "BSD-3-Clause OR GPL-2.0-only" },
  libzstd1: { source: "libzstd", license: "BSD-3-Clause OR GPL-2.0-only" },
  "squashfs-tools": { source: "squashfs-tools", license: "GPL-2.0-or-later" },
  zlib1g: { source: "zlib", license: "Zlib" },
};

/** Facts about a binary package; one that is not known is taken for its own source. */
export function debianFacts(name: string, version: string): DebianFacts {
  const facts = FACTS[name] ?? { source: name };
  // Debian has one gcc source package for each major version.
  return facts.source === "gcc" ? { ...facts, source: `gcc-${Number.parseInt(version, 10)}` } : facts;
}
