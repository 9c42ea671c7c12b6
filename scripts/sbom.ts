/**
 * The bill of materials of a release: an SPDX 2.3 document (clauses 6, 7 and 11) as JSON.
 *
 * Each artefact is a package of purpose FILE with its SHA-256; it contains davit, the npm packages that
 * main.ts needs, Deno, and the Debian packages whose files it carries, and those contain the files as they
 * are packed. Where something can be had is said by package URLs only. Equal facts make equal bytes.
 *
 * @module
 */
import type { PackedPart } from "./compile.ts";
import type { Architecture } from "./compile/target.ts";
import { debianFacts } from "./release/debian_facts.ts";
import type { NpmPackage } from "./release/npm_packages.ts";

/** What a release is made of. */
export interface ReleaseFacts {
  readonly version: string;
  readonly license: string;
  /** Of git, where there is one. */
  readonly commit?: string | undefined;
  readonly isDirty: boolean;
  /** Seconds since 1970. */
  readonly epoch: number;
  readonly artefacts: readonly Artefact[];
  readonly npm: readonly NpmPackage[];
}

/** One program file of the release. */
export interface Artefact {
  readonly name: string;
  readonly arch: Architecture;
  readonly kind: "compiled" | "portable";
  readonly sha256: string;
  /** Of its architecture; a compiled file has of them only davit and Deno. */
  readonly packed: readonly PackedPart[];
}

/** A package as SPDX 2.3 has it, as far as it is used here. */
export interface SpdxPackage {
  readonly SPDXID: string;
  readonly name: string;
  readonly versionInfo: string;
  readonly primaryPackagePurpose?: "APPLICATION" | "LIBRARY" | "FILE";
  readonly packageFileName?: string;
  readonly downloadLocation: "NOASSERTION";
  readonly filesAnalyzed: false;
  readonly licenseConcluded: "NOASSERTION";
  readonly licenseDeclared: string;
  readonly copyrightText: "NOASSERTION";
  readonly sourceInfo?: string;
  readonly comment?: string;
  readonly checksums?: readonly { readonly algorithm: string; readonly checksumValue: string }[];
  readonly externalRefs?: readonly {
    readonly referenceCategory: "PACKAGE-MANAGER" | "SECURITY";
    readonly referenceType: "purl" | "cpe23Type";
    readonly referenceLocator: string;
  }[];
}

/** One arrow of the document. */
export interface SpdxRelationship {
  readonly spdxElementId: string;
  readonly relationshipType: "DESCRIBES" | "CONTAINS" | "DEPENDS_ON" | "DEV_DEPENDENCY_OF";
  readonly relatedSpdxElement: string;
}

/** The document. */
export interface SpdxDocument {
  readonly spdxVersion: "SPDX-2.3";
  readonly dataLicense: "CC0-1.0";
  readonly SPDXID: "SPDXRef-DOCUMENT";
  readonly name: string;
  readonly documentNamespace: string;
  readonly creationInfo: { readonly created: string; readonly creators: readonly string[] };
  readonly packages: readonly SpdxPackage[];
  readonly relationships: readonly SpdxRelationship[];
}

const DOCUMENT = "SPDXRef-DOCUMENT";
const DEBIAN_ARCHITECTURES = { x86_64: "amd64", aarch64: "arm64" } as const;

/** Makes the document. Its namespace is a UUID of its content, so that no host has to be named. */
export async function makeSbom(facts: ReleaseFacts): Promise<SpdxDocument> {
  const contents = new Contents();
  const davit = contents.add(davitPackage(facts));
  contents.relate(DOCUMENT, "DESCRIBES", davit);
  const ids = addNpmPackages(contents, davit, facts.npm);
  const bundled = facts.npm.filter(({ use }) => use !== "dev").map((item) => ids.get(keyOf(item))!);
  for (const artefact of facts.artefacts) {
    const file = contents.add(artefactPackage(artefact, facts));
    contents.relate(DOCUMENT, "DESCRIBES", file);
    for (const id of [davit, ...bundled]) contents.relate(file, "CONTAINS", id);
    addPacked(contents, file, davit, artefact);
  }
  const { packages, relationships } = contents;
  const name = `davit-${facts.version}`;
  const created = new Date(facts.epoch * 1000).toISOString().replace(/\.\d+Z$/, "Z");
  return {
    spdxVersion: "SPDX-2.3",
    dataLicense: "CC0-1.0",
    SPDXID: DOCUMENT,
    name,
    documentNamespace: await namespaceOf({ name, created, packages, relationships }),
    creationInfo: { created, creators: [`Tool: davit-release-${facts.version}`] },
    packages,
    relationships,
  };
}

/** Packages and arrows in the order they came, each once. */
class Contents {
  readonly packages: SpdxPackage[] = [];
  readonly relationships: SpdxRelationship[] = [];
  readonly #known = new Map<string, string>();

  add(item: SpdxPackage): string {
    const text = JSON.stringify(item);
    const known = this.#known.get(item.SPDXID);
    if (known !== undefined && known !== text) {
      throw new Error(
        `Cannot list "${item.name}" ${item.versionInfo}: "${item.SPDXID}" means something else`,
      );
    }
    if (known === undefined) this.packages.push(item);
    this.#known.set(item.SPDXID, text);
    return item.SPDXID;
  }

  relate(from: string, relationshipType: SpdxRelationship["relationshipType"], to: string): void {
    const relationship = { spdxElementId: from, relationshipType, relatedSpdxElement: to };
    const text = JSON.stringify(relationship);
    if (this.#known.has(text)) return;
    this.#known.set(text, text);
    this.relationships.push(relationship);
  }
}

function addNpmPackages(contents: Contents, davit: string, npm: readonly NpmPackage[]): Map<string, string> {
  const ids = new Map(npm.map((item) => [keyOf(item), contents.add(npmPackage(item))]));
  for (const item of npm) {
    const id = ids.get(keyOf(item))!;
    if (item.use === "direct") contents.relate(davit, "DEPENDS_ON", id);
    if (item.use === "dev") contents.relate(id, "DEV_DEPENDENCY_OF", davit);
    for (const dependency of item.dependencies) contents.relate(id, "DEPENDS_ON", ids.get(dependency)!);
  }
  return ids;
}

function addPacked(contents: Contents, file: string, davit: string, { arch, kind, packed }: Artefact): void {
  for (const part of packed) {
    if (kind === "compiled" && part.origin !== "deno") continue;
    const origin = part.origin === "davit" ? davit : contents.add(
      part.origin === "deno" ? denoPackage(part) : debianPackage(part, arch),
    );
    contents.relate(file, "CONTAINS", origin);
    // `deno compile` makes one file of a runtime that is not the packed one.
    if (kind === "portable") contents.relate(origin, "CONTAINS", contents.add(partPackage(part, arch)));
  }
}

function davitPackage({ version, license, commit, isDirty }: ReleaseFacts): SpdxPackage {
  return {
    ...common("davit", "davit", version, license),
    primaryPackagePurpose: "APPLICATION",
    ...commit !== undefined && {
      sourceInfo: `git commit ${commit}${isDirty ? ", with changes that are not committed" : ""}`,
    },
    externalRefs: [purl(`pkg:generic/davit@${quote(version)}`)],
  };
}

function artefactPackage({ name, sha256 }: Artefact, { version }: ReleaseFacts): SpdxPackage {
  return {
    ...common(`file-${name}`, name, version),
    primaryPackagePurpose: "FILE",
    packageFileName: `./${name}`,
    checksums: [{ algorithm: "SHA256", checksumValue: sha256 }],
  };
}

function npmPackage({ name, version, license, checksum, use }: NpmPackage): SpdxPackage {
  return {
    ...common(`npm-${name}-${version}`, name, version, license),
    primaryPackagePurpose: "LIBRARY",
    ...use === "dev" && { comment: "For tests and scripts only; no file of the release contains it." },
    checksums: [{ algorithm: checksum.algorithm, checksumValue: checksum.hex }],
    externalRefs: [purl(`pkg:npm/${name.split("/").map(quote).join("/")}@${quote(version)}`)],
  };
}

function denoPackage({ version }: PackedPart): SpdxPackage {
  const cpe = `cpe:2.3:a:deno:deno:${version.replace(/[^A-Za-z0-9._]/g, "\\$&")}:*:*:*:*:*:*:*`;
  return {
    ...common(`deno-${version}`, "deno", version, "MIT"),
    primaryPackagePurpose: "APPLICATION",
    externalRefs: [
      purl(`pkg:npm/deno@${quote(version)}`),
      { referenceCategory: "SECURITY", referenceType: "cpe23Type", referenceLocator: cpe },
    ],
  };
}

function debianPackage({ origin, version }: PackedPart, arch: Architecture): SpdxPackage {
  const { source, license } = debianFacts(origin, version);
  const debianArch = DEBIAN_ARCHITECTURES[arch];
  const qualifiers = `arch=${debianArch}${source === origin ? "" : `&upstream=${quote(source)}`}`;
  return {
    ...common(`deb-${origin}-${version}-${debianArch}`, origin, version, license),
    sourceInfo: `built from the Debian source package ${source}`,
    externalRefs: [purl(`pkg:deb/debian/${quote(origin)}@${quote(version)}?${qualifiers}`)],
  };
}

function partPackage({ name, origin, version, sha256 }: PackedPart, arch: Architecture): SpdxPackage {
  const isLoader = name === "davit" && origin !== "davit";
  return {
    ...common(`part-${arch}-${name}`, name, version),
    primaryPackagePurpose: "FILE",
    packageFileName: `./${name}`,
    ...isLoader &&
      { comment: "The dynamic loader under davit's name, changed to ignore /etc/ld.so.preload." },
    checksums: [{ algorithm: "SHA256", checksumValue: sha256 }],
  };
}

function common(id: string, name: string, versionInfo: string, license = "NOASSERTION") {
  return {
    SPDXID: `SPDXRef-${idString(id)}`,
    name,
    versionInfo,
    downloadLocation: "NOASSERTION",
    filesAnalyzed: false,
    licenseConcluded: "NOASSERTION",
    licenseDeclared: license,
    copyrightText: "NOASSERTION",
  } as const;
}

/** SPDX allows letters, digits, "." and "-"; "_" becomes "-", others their code point. */
function idString(text: string): string {
  return text.replaceAll("_", "-").replace(
    /[^A-Za-z0-9.-]/gu,
    (char) => `-${char.codePointAt(0)!.toString(16)}-`,
  );
}

function purl(referenceLocator: string) {
  return { referenceCategory: "PACKAGE-MANAGER", referenceType: "purl", referenceLocator } as const;
}

/** As the package-URL specification wants it: percent-encoded, but for the colon of Debian's epochs. */
function quote(text: string): string {
  return encodeURIComponent(text).replaceAll("%3A", ":").replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function keyOf({ name, version }: NpmPackage): string {
  return `${name}@${version}`;
}

/** RFC 9562, version 8: the first 122 free bits of the SHA-256. */
async function namespaceOf(content: unknown): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(JSON.stringify(content)));
  const bytes = new Uint8Array(digest, 0, 16);
  bytes[6] = bytes[6]! & 0x0f | 0x80;
  bytes[8] = bytes[8]! & 0x3f | 0x80;
  const hex = bytes.toHex();
  return `urn:uuid:${hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5")}`;
}
