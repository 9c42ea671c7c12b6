/**
 * The rules of SPDX 2.3 (clauses 6, 7 and 11, and the JSON schema that belongs to it) that davit's bill of
 * materials has to keep, as a list of what is broken.
 *
 * @module
 */

type Json = Record<string, unknown>;

const DOCUMENT = "SPDXRef-DOCUMENT";
const ID = /^SPDXRef-[A-Za-z0-9.-]+$/;
const HEX_LENGTHS: Record<string, number> = { SHA1: 40, SHA256: 64, SHA384: 96, SHA512: 128 };
const CREATOR = /^(?:Tool: .+-.+|Person: .+|Organization: .+)$/;
/** An expression's words; whether a word is on SPDX's list is not checked. */
const LICENSE = /^(?:NOASSERTION|NONE|\(?[A-Za-z0-9.-]+\+?(?: (?:AND|OR|WITH) \(?[A-Za-z0-9.-]+\+?\)?)*\)?)$/;
const PURL =
  /^pkg:[a-z]+\/(?:[A-Za-z0-9.%_~-]+\/)*[A-Za-z0-9.%_~-]+@[A-Za-z0-9.%_~:-]+(?:\?[a-z]+=[^&?#]+(?:&[a-z]+=[^&?#]+)*)?$/;
const CPE = /^cpe:2\.3:[aho](?::(?:[A-Za-z0-9._*-]|\\[^A-Za-z0-9])+){10}$/;
const PURPOSES = [
  "APPLICATION",
  "FRAMEWORK",
  "LIBRARY",
  "CONTAINER",
  "FIRMWARE",
  "FILE",
  "SOURCE",
  "ARCHIVE",
];
const RELATIONSHIPS = ["DESCRIBES", "CONTAINS", "DEPENDS_ON", "DEV_DEPENDENCY_OF"];
const PACKAGE_FIELDS = [
  ["SPDXID", ID],
  ["name", /^[^\n]+$/],
  ["versionInfo", /^[^\n]+$/],
  ["downloadLocation", /^NOASSERTION$/],
  ["licenseConcluded", LICENSE],
  ["licenseDeclared", LICENSE],
  ["copyrightText", /./],
] as const;

/** What is wrong with a document, one sentence each; none when all is well. */
export function brokenRules(document: Json): string[] {
  const faults: string[] = [];
  const check = (holds: boolean, sentence: string) => holds || faults.push(sentence);
  const matches = (value: unknown, pattern: RegExp, where: string) =>
    check(typeof value === "string" && pattern.test(value), `${where}: ${JSON.stringify(value)}`);

  matches(document.spdxVersion, /^SPDX-2\.3$/, "spdxVersion");
  matches(document.dataLicense, /^CC0-1\.0$/, "dataLicense");
  matches(document.SPDXID, /^SPDXRef-DOCUMENT$/, "SPDXID");
  matches(document.name, /^[^\n]+$/, "name");
  matches(document.documentNamespace, /^[a-z][a-z0-9+.-]*:[^#\s]+$/i, "documentNamespace");
  const { created, creators } = document.creationInfo as Json;
  matches(created, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, "created");
  check((creators as string[]).length > 0, "no creator");
  for (const creator of creators as string[]) matches(creator, CREATOR, "creator");

  const ids = [DOCUMENT];
  for (const item of document.packages as Json[]) {
    const where = String(item.SPDXID);
    ids.push(where);
    for (const [field, pattern] of PACKAGE_FIELDS) matches(item[field], pattern, `${where} ${field}`);
    check(item.filesAnalyzed === false, `${where}: no files are listed, so filesAnalyzed must be false`);
    const purpose = item.primaryPackagePurpose;
    check(purpose === undefined || PURPOSES.includes(String(purpose)), `${where}: purpose ${purpose}`);
    for (const { algorithm, checksumValue } of (item.checksums ?? []) as Json[]) {
      const length = HEX_LENGTHS[String(algorithm)] ?? 0;
      matches(checksumValue, new RegExp(`^[0-9a-f]{${length}}$`), `${where} ${algorithm}`);
    }
    for (const reference of (item.externalRefs ?? []) as Json[]) {
      const { referenceCategory, referenceType, referenceLocator } = reference;
      const isPurl = referenceType === "purl" && referenceCategory === "PACKAGE-MANAGER";
      check(
        isPurl || referenceType === "cpe23Type" && referenceCategory === "SECURITY",
        `${where}: reference`,
      );
      matches(referenceLocator, isPurl ? PURL : CPE, `${where} ${referenceType}`);
    }
  }
  for (const id of ids) check(ids.indexOf(id) === ids.lastIndexOf(id), `${id} is there twice`);

  const relationships = document.relationships as Record<string, string>[];
  const described: string[] = [];
  for (const { spdxElementId = "", relationshipType = "", relatedSpdxElement = "" } of relationships) {
    const where = `${spdxElementId} ${relationshipType} ${relatedSpdxElement}`;
    check(RELATIONSHIPS.includes(relationshipType), where);
    check(ids.includes(spdxElementId) && ids.includes(relatedSpdxElement), `${where}: an end is missing`);
    if (relationshipType === "DESCRIBES" && spdxElementId === DOCUMENT) described.push(relatedSpdxElement);
  }
  check(described.length > 0, "the document describes nothing");
  const reached = new Set([DOCUMENT]);
  for (let size = 0; size < reached.size;) {
    size = reached.size;
    for (const { spdxElementId = "", relatedSpdxElement = "" } of relationships) {
      if (reached.has(spdxElementId)) reached.add(relatedSpdxElement);
      if (reached.has(relatedSpdxElement)) reached.add(spdxElementId);
    }
  }
  for (const id of ids) check(reached.has(id), `${id} belongs to nothing`);
  return faults;
}
