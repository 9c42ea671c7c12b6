/**
 * Random layer stacks come out as umoci unpacks them. `merge_umoci_long_test.ts` tries many more.
 *
 * @module
 */
import { tryStacks } from "../../testdata/compare_umoci.ts";

Deno.test("indexLayers() and buildSquashfs() merge random layers as umoci does", () => tryStacks(20));
